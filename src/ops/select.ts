/**
 * Row selection.
 *
 * @module
 */

import type { Tape } from "../tape.ts";
import { assertMultipleOf4, type Tensor } from "../tensor.ts";
import { elementwise } from "./launch.ts";

/**
 * y[N,C] = x[rows]: the rows that a loss looks at.
 *
 * @param x [T,C], C a multiple of 4
 * @param rows N distinct row numbers below T
 * @throws {RangeError} if a row is out of range or named twice.
 */
export function selectRows(tape: Tape, x: Tensor, rows: Uint32Array): Tensor {
  const [T, C] = x.shape as [number, number];
  assertMultipleOf4(C, "the width", "select rows");
  const NONE = 0xffffffff;
  const inverse = new Uint32Array(T).fill(NONE);
  rows.forEach((row, n) => {
    if (row >= T || inverse[row] !== NONE) {
      throw new RangeError(
        `Cannot select row ${row} of "${x.label}": ${
          row >= T ? `it has ${T} rows` : "it is named twice"
        }`,
      );
    }
    inverse[row] = n;
  });
  const { gpu } = tape;
  const N = rows.length;
  const y = tape.tensor([N, C], "selected rows", [x]);
  const special = { constants: { WIDTH4: C / 4 } };
  const read = { rows: tape.upload(rows, "rows"), x, y };
  elementwise(gpu, "select", "forward", N * C / 4, read, { rows: N }, special);

  tape.record([y], () => {
    const dy = y.grad;
    if (!dy) return;
    const positions = tape.upload(inverse, "inverse rows");
    tape.accumulate(
      x,
      (dx, beta) =>
        elementwise(
          gpu,
          "select",
          "backward",
          T * C / 4,
          { inverse: positions, dy, dx },
          { rows: T, beta },
          special,
        ),
    );
  });
  return y;
}
