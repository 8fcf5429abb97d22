/**
 * Tasks that are there twice, or nearly so: in one file, or for training and for evaluation.
 *
 * @module
 */

import { SimilarTexts } from "../../tasks/similarity.ts";
import { placeOf, type Task } from "../../tasks/task.ts";

/** Jaccard index of prompts from which on they count as nearly the same. */
export const NEAR = 0.8;

/** Pairs that are shown, of however many there are. */
const SHOWN = 5;

/** Two tasks that resemble each other. */
export interface TaskPair {
  /** Place of the task that was there first. */
  readonly first: string;
  /** Place of the other. */
  readonly second: string;
  /** What the other says. */
  readonly prompt: string;
  /** 1 where prompt and world are the same. */
  readonly similarity: number;
}

/** How many tasks resemble another one. */
export interface Overlap {
  /** With the same prompt and the same world. */
  readonly exact: number;
  /** With a prompt of a similarity of {@linkcode NEAR} and more. */
  readonly near: number;
  /** The first pairs. */
  readonly pairs: readonly TaskPair[];
}

/** Tasks of a list that resemble an earlier one of it. */
export function duplicates(tasks: readonly Task[]): Overlap {
  const index = new TaskIndex();
  return count(tasks, (task) => {
    const pair = index.match(task);
    index.add(task);
    return pair;
  });
}

/** Tasks of one list that resemble one of another. */
export function overlap(tasks: readonly Task[], others: readonly Task[]): Overlap {
  const index = new TaskIndex();
  for (const other of others) index.add(other);
  return count(tasks, (task) => index.match(task));
}

function count(tasks: readonly Task[], match: (task: Task) => TaskPair | null): Overlap {
  const found = tasks.flatMap((task) => match(task) ?? []);
  const exact = found.filter(({ similarity }) => similarity === 1).length;
  return { exact, near: found.length - exact, pairs: found.slice(0, SHOWN) };
}

class TaskIndex {
  readonly #same = new Map<string, Task>();
  readonly #near = new SimilarTexts(NEAR);
  readonly #tasks: Task[] = [];

  add(task: Task): void {
    const text = textOf(task);
    if (this.#same.has(text)) return;
    this.#same.set(text, task);
    this.#near.add(text);
    this.#tasks.push(task);
  }

  match(task: Task): TaskPair | null {
    const text = textOf(task);
    const same = this.#same.get(text);
    if (same) return pairOf(same, task, 1);
    const near = this.#near.find(text);
    if (!near) return null;
    // Texts that are not the same may have the same shingles.
    return pairOf(this.#tasks[near.index]!, task, Math.min(near.similarity, 0.99));
  }
}

function pairOf(first: Task, second: Task, similarity: number): TaskPair {
  const [one, other] = [placeOf(first.origin!), placeOf(second.origin!)];
  return { first: one, second: other, prompt: second.prompt, similarity };
}

function textOf({ prompt, world }: Task): string {
  return world === undefined ? prompt.trim() : `${prompt.trim()}\n${JSON.stringify(world)}`;
}
