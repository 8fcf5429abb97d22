"""Writes the golden GGUF file that tests/gguf_test.ts reads, with llama.cpp's own Python package.

    pip install gguf==0.19.0 numpy safetensors
    python tests/golden/make_gguf_goldens.py

gguf/types.gguf holds one small tensor of every supported element type, of random blocks, and
metadata of every type; gguf/types.safetensors the same tensors as gguf.quants decodes them to f32.
"""

from pathlib import Path

import numpy as np
from gguf import GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

OUT = Path(__file__).parent / "gguf"

# Where a block holds its f16 scales: any other bytes of a block may be anything.
SCALES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


def random_blocks(rng, name, count):
    """Blocks of random bytes whose scales are finite, of any size and sign."""
    bytes_per_block = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (count, bytes_per_block), dtype=np.uint8)
    for at in SCALES[name]:
        bits = rng.integers(0, 0x7C00, count) | rng.integers(0, 2, count) << 15
        blocks[:, at : at + 2] = bits.astype("<u2").view(np.uint8).reshape(count, 2)
    return blocks


def main():
    rng = np.random.default_rng(7)
    OUT.mkdir(exist_ok=True)
    writer = GGUFWriter(OUT / "types.gguf", "golden")
    expected = {}

    writer.add_uint8("value.u8", 255)
    writer.add_int8("value.i8", -128)
    writer.add_uint16("value.u16", 65535)
    writer.add_int16("value.i16", -32768)
    writer.add_uint32("value.u32", 4294967295)
    writer.add_int32("value.i32", -2147483648)
    writer.add_uint64("value.u64", 2**53 - 1)
    writer.add_uint64("value.u64.big", 2**64 - 1)
    writer.add_int64("value.i64", -(2**53) + 1)
    writer.add_int64("value.i64.big", -(2**63))
    writer.add_float32("value.f32", 0.1)
    writer.add_float64("value.f64", 0.1)
    writer.add_bool("value.bool", True)
    writer.add_string("value.string", "gr\u00fc\u00dfe \U0001f600")
    writer.add_array("array.u32", [1, 2, 3])
    writer.add_array("array.f32", [0.5, -1.5])
    writer.add_array("array.bool", [True, False])
    writer.add_array("array.string", ["a", "", "\u2581b"])
    writer.add_key_value("array.nested", [[1, 2], [3]], GGUFValueType.ARRAY)
    writer.add_custom_alignment(64)

    floats = rng.standard_normal((3, 5)).astype(np.float32)
    writer.add_tensor("F32", floats)
    expected["F32"] = floats
    writer.add_tensor("F16", floats.astype(np.float16))
    expected["F16"] = floats.astype(np.float16)
    bf16 = (floats.view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("BF16", bf16.view(np.uint8), raw_dtype=GGMLQuantizationType.BF16)
    expected["BF16"] = (bf16.astype(np.uint32) << 16).view(np.float32)
    writer.add_tensor("F32.rank3", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    expected["F32.rank3"] = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for name in SCALES:
        type = GGMLQuantizationType[name]
        # Two rows, of more than one block where blocks are small.
        per_row = 3 if GGML_QUANT_SIZES[type][0] == 32 else 1
        data = random_blocks(rng, name, 2 * per_row).reshape(2, -1)
        writer.add_tensor(name, data, raw_dtype=type)
        expected[name] = dequantize(data, type)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, OUT / "types.safetensors")


main()
