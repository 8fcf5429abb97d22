"""Writes tensorboard/: an event file as TensorBoard's own writer makes it, and what is in it. Run from
the repository root:

    pip install tensorboard==2.21.0
    python tests/golden/make_tensorboard_goldens.py
"""

import json
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

TARGET = Path(__file__).parent / "tensorboard"
START = 1764201600.25
EVENTS = [
    {"time": 1764201600.5, "step": 0, "values": [["eval/arith/train/pass1", 0.125]]},
    {"time": 1764201601.0625, "step": 1, "values": [["loss", 2.5], ["reward", -0.75], ["zero", 0.0]]},
    # Steps whose varints have two and five bytes, and seven.
    {"time": 1764201602.0, "step": 300, "values": [["Größe/日本", 0.1], ["tiny", 1e-40]]},
    {"time": 1764201603.0, "step": 2**34 + 7, "values": [["large", 3e38]]},
    {"time": 1764201604.0, "step": 2**48 + 1, "values": [[f"many/{i}", i / 7] for i in range(40)]},
]

TARGET.mkdir(exist_ok=True)
with open(TARGET / "scalars.tfevents", "wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=START, file_version="brain.Event:2").SerializeToString())
    start = Event(wall_time=START, session_log=SessionLog(status=SessionLog.START))
    writer.write(start.SerializeToString())
    for event in EVENTS:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in event["values"]]
        writer.write(
            Event(wall_time=event["time"], step=event["step"], summary=Summary(value=values))
            .SerializeToString()
        )
    writer.flush()
(TARGET / "scalars.json").write_text(
    json.dumps({"start": START, "events": EVENTS}, ensure_ascii=False, indent=1) + "\n"
)
