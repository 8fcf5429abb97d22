"""Writes a GGUF file with every tensor dequantised to f32, for make_llama_cpp_goldens.ts.

    pip install gguf==0.19.0 numpy
    python tests/golden/make_f32_gguf.py IN.gguf OUT.gguf

llama.cpp quantises activations for products with quantised weights, and does not for f32: its
values for OUT are those that IN's weights stand for.
"""

import sys

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

source, target = sys.argv[1:]
reader = GGUFReader(source)
architecture = "general.architecture"
writer = GGUFWriter(target, reader.fields[architecture].contents())
for key, field in reader.fields.items():
    # The header's own fields, and what the writer writes by itself.
    if key.startswith("GGUF.") or key == architecture:
        continue
    value = 0 if key == "general.file_type" else field.contents()
    kind = field.types[0]
    if kind == GGUFValueType.ARRAY:
        writer.add_key_value(key, value, kind, field.types[1])
    else:
        writer.add_key_value(key, value, kind)
for tensor in reader.tensors:
    plain = tensor.tensor_type.name == "F32"
    data = tensor.data if plain else dequantize(tensor.data, tensor.tensor_type)
    writer.add_tensor(tensor.name, np.ascontiguousarray(data, dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
