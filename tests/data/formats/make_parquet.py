"""Writes the Parquet files of this folder from its JSON files. Run from the repository root:

    pip install pyarrow==26.0.1
    python tests/data/formats/make_parquet.py

    own.parquet          structured columns as JSON texts, answers and references as they come; Snappy
    mentor_data.parquet  as published: objects and lists are JSON texts; two row groups
    toolrl.parquet       as verl has it: structs and lists of structs; Zstandard
    trl.parquet          messages and tools as structs, whose fields are null where a row lacks them
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def rows(name):
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def write(name, records, **options):
    pq.write_table(pa.Table.from_pylist(records), HERE / name, **options)


structured = ("expected", "world")
own = [
    {
        key: json.dumps(value) if key in structured or key == "tools" else value
        for key, value in row.items()
    }
    for row in rows("own.jsonl")
]
columns = dict.fromkeys(key for row in own for key in row)
write("own.parquet", [{key: row.get(key) for key in columns} for row in own])
write("mentor_data.parquet", rows("mentor_data.jsonl"), row_group_size=2)
write("toolrl.parquet", rows("toolrl.jsonl"), compression="zstd")
trl = [row for row in rows("trl.jsonl") if "messages" in row]
for row in trl:
    # A column has one type: arguments are structs here, and tools lists.
    row["tools"] = json.loads(row["tools"]) if isinstance(row.get("tools"), str) else row.get("tools")
    for message in row["messages"]:
        for call in message.get("tool_calls", []):
            arguments = call["function"]["arguments"]
            if isinstance(arguments, str):
                call["function"]["arguments"] = json.loads(arguments)
write("trl.parquet", trl, compression="gzip")
