"""Writes what the Berkeley Function Calling Leaderboard's own checker says of answers, most of them
wrong. Run from the repository root:

    pip install --no-deps bfcl-eval==2026.3.23
    pip install filelock numpy pandas python-dotenv tqdm overrides tenacity tree_sitter==0.21.3 \
        tree-sitter-java==0.21.0 tree-sitter-javascript==0.21.4
    python tests/golden/make_bfcl_goldens.py

Every verdict comes out of the benchmark's `eval_runner`. Of its package only the table of models is
replaced, which would load the client of every vendor: the handler here takes calls as they are, as
those of vendors do that answer with calls in JSON. Questions and answers are those of the package.

Answers are made from the reference (the first value allowed for each argument) by changes to one
thing at a time, and some by hand.

data/bfcl/                  a few rows of each category, in the files of the benchmark
golden/bfcl/<category>.json
    checker    the package and its version
    cases[]    id, what was changed, the calls, and the error's type (null where they are right)

With `--all FOLDER` every row is asked about, and the cases go to FOLDER; a test compares with them
where MENTOR_BFCL_GOLDENS names that folder and MENTOR_DATA the data's.
"""

import copy
import importlib.metadata
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace

TESTS = Path(__file__).parent.parent

models = types.ModuleType("bfcl_eval.constants.model_config")
models.MODEL_CONFIG_MAPPING = {"none": SimpleNamespace(underscore_to_dot=False)}
sys.modules["bfcl_eval.constants.model_config"] = models

import bfcl_eval  # noqa: E402
from bfcl_eval.constants.enums import Language, ReturnFormat  # noqa: E402
from bfcl_eval.eval_checker import eval_runner  # noqa: E402

DATA = Path(bfcl_eval.__file__).parent / "data"

# Category: how many rows go into the excerpt, and of these how many cases of one kind, which is a
# change and its verdict.
CATEGORIES = {
    "simple_python": (14, 2),
    "multiple": (9, 2),
    "parallel": (8, 1),
    "parallel_multiple": (7, 1),
    "irrelevance": (12, 12),
    "live_simple": (5, 1),
    "live_multiple": (3, 1),
    "live_parallel": (2, 3),
    "live_parallel_multiple": (2, 1),
    "live_irrelevance": (12, 12),
    "live_relevance": (2, 2),
}


class Handler:
    """Takes a list of {name: arguments}; a text is no list."""

    def decode_ast(self, result, language, has_tool_call_tag):
        return result


def verdict(category, row, answers, calls):
    """The type of the error, or None."""
    result = [{call["name"]: call["arguments"]} for call in calls]
    entry = copy.deepcopy(row)
    if "relevance" in category:
        found = eval_runner._evaluate_single_relevance_entry(
            Handler(), row["id"], result, entry, "none", category
        )
    else:
        found = eval_runner._evaluate_single_ast_entry(
            Handler(), row["id"], copy.deepcopy(result), answers, entry, "none", category,
            Language.PYTHON, ReturnFormat.PYTHON,
        )
    return None if found["valid"] else found["error_type"]


def schema_of(row, name):
    return next(f for f in row["function"] if f["name"] == name)["parameters"]


def filled(template):
    """A dict among the values allowed lists values for each of its keys."""
    if not isinstance(template, dict):
        return template
    chosen = {key: [v for v in values if v != ""] for key, values in template.items()}
    return {key: values[0] for key, values in chosen.items() if values}


def instance(value, schema):
    if schema["type"] == "dict":
        return filled(value)
    if isinstance(value, list) and schema.get("items", {}).get("type") == "dict":
        return [filled(each) for each in value]
    return value


def reference(row, answers):
    calls = []
    for answer in answers:
        ((name, allowed),) = answer.items()
        schema = schema_of(row, name)
        arguments = {}
        for key, values in allowed.items():
            if key not in schema["properties"]:
                continue
            given = [v for v in values if v != ""]
            if given:
                arguments[key] = instance(given[0], schema["properties"][key])
            elif key in schema["required"]:
                arguments[key] = ""
        calls.append({"name": name, "arguments": arguments})
    return calls


def invented(schema):
    """An argument that conforms to a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind in ("array", "tuple"):
        return [invented(schema["items"])] if "items" in schema else []
    if kind == "dict":
        return {key: invented(each) for key, each in schema.get("properties", {}).items()}
    return {"integer": 1, "float": 1.5, "boolean": True}.get(kind, "a text")


def changed_values(value):
    """(what was changed, value) for one argument."""
    yield "null", None
    if isinstance(value, bool):
        yield "not", not value
        yield "as text", str(value)
        yield "as integer", int(value)
        yield "in a list", [value]
    elif isinstance(value, int):
        yield "plus one", value + 1
        yield "as float", float(value)
        yield "a half more", value + 0.5
        yield "as text", str(value)
        yield "as boolean", bool(value)
        yield "in a list", [value]
    elif isinstance(value, float):
        yield "a half more", value + 0.5
        yield "as integer", round(value)
        yield "as text", str(value)
        yield "as boolean", bool(value)
        yield "a hair more", value + 1e-9
    elif isinstance(value, str):
        yield "upper case", value.upper()
        yield "spaces and punctuation", " " + "-".join(value.split(" ")) + "./*^_, "
        yield "an exclamation mark", value + "!"
        yield "no last character", value[:-1]
        yield "other quotes", value.replace("'", '"') if "'" in value else f"'{value}'"
        yield "empty", ""
        yield "a number", 7
        yield "in a list", [value]
    elif isinstance(value, list):
        yield "reversed", value[::-1]
        yield "empty", []
        yield "one less", value[:-1]
        yield "one more", value + value[:1]
        yield "in a list", [value]
        yield "as text", json.dumps(value)
        for what, each in changed_values(value[0]) if value else ():
            yield f"first item {what}", [each] + value[1:]
        if all(isinstance(each, float) for each in value):
            yield "all items as integers", [round(each) for each in value]
        if all(type(each) is int for each in value):
            yield "all items as floats", [float(each) for each in value]
        if all(isinstance(each, str) for each in value):
            yield "all items upper case", [each.upper() for each in value]
    elif isinstance(value, dict):
        yield "empty", {}
        yield "one key more", {**value, "surplus": 1}
        yield "as text", json.dumps(value)
        yield "in a list", [value]
        for key in value:
            yield "one key less", {k: v for k, v in value.items() if k != key}
            yield "one key upper case", {k.upper() if k == key else k: v for k, v in value.items()}
            for what, each in changed_values(value[key]):
                yield f"a key's value {what}", {**value, key: each}


def with_argument(calls, i, key, value):
    changed = copy.deepcopy(calls)
    changed[i]["arguments"][key] = value
    return changed


def without_argument(calls, i, key):
    changed = copy.deepcopy(calls)
    del changed[i]["arguments"][key]
    return changed


def answers_to(row, answers):
    """(what was changed, calls) for a row that wants calls."""
    calls = reference(row, answers)
    yield "reference", calls
    yield "no call", []
    yield "one call more", calls + calls[:1]
    if len(calls) > 1:
        yield "one call less", calls[:-1]
        yield "reversed calls", calls[::-1]
        yield "first call twice", [calls[0]] + calls[:-1]
        yield "all in one call", [{"name": calls[0]["name"], "arguments": {
            k: v for call in calls for k, v in call["arguments"].items()
        }}]
    for i, call in enumerate(calls):
        name, arguments = call["name"], call["arguments"]
        schema = schema_of(row, name)
        allowed = next(iter(answers[i].values()))

        def renamed(to):
            changed = copy.deepcopy(calls)
            changed[i]["name"] = to
            return changed

        yield "unknown function", renamed(name + "_x")
        yield "function in upper case", renamed(name.upper())
        if "." in name:
            yield "underscores for dots", renamed(name.replace(".", "_"))
        for other in row["function"]:
            if other["name"] != name:
                yield "another function", renamed(other["name"])
        yield "no arguments", [*calls[:i], {"name": name, "arguments": {}}, *calls[i + 1:]]
        yield "unexpected argument", with_argument(calls, i, "surplus", 1)
        optional = [key for key in arguments if "" in allowed[key]]
        short = copy.deepcopy(calls)
        for key in optional:
            del short[i]["arguments"][key]
        yield "no optional arguments", short
        for key, value in arguments.items():
            kind = "optional" if key in optional else "required"
            yield f"no {kind} argument", without_argument(calls, i, key)
            for what, each in changed_values(value):
                yield f"{schema['properties'][key]['type']} {what}", with_argument(calls, i, key, each)
            for each in allowed[key]:
                if each == "":
                    yield "empty text for an optional argument", with_argument(calls, i, key, "")
                    yield "empty list for an optional argument", with_argument(calls, i, key, [])
                else:
                    value = instance(each, schema["properties"][key])
                    yield "another allowed value", with_argument(calls, i, key, value)


def answers_without_reference(row):
    """(what was called, calls) for a row that asks whether to call at all."""
    yield "no call", []
    yield "unknown function", [{"name": "invented", "arguments": {}}]
    for f in row["function"]:
        name, parameters = f["name"], f["parameters"]
        call = {"name": name, "arguments": {
            key: invented(parameters["properties"][key])
            for key in parameters["required"] if key in parameters["properties"]
        }}
        yield "a call", [call]
        yield "a call without arguments", [{"name": name, "arguments": {}}]
        yield "a call with a surplus argument", [
            {"name": name, "arguments": {**call["arguments"], "surplus": 1}}
        ]
        yield "two calls", [call, call]
        yield "an empty name", [{"name": "", "arguments": call["arguments"]}]


def by_hand(category, row, answers):
    """(what is tricky, calls), on rows that are named here."""
    calls = reference(row, answers) if answers else []
    if category == "parallel" and len(calls) > 2:
        yield "by hand: calls turned round", calls[1:] + calls[:1]
        yield "by hand: one right call for all", [calls[0]] * len(calls)
        yield "by hand: two calls swapped and one wrong", [
            calls[1], {"name": calls[0]["name"], "arguments": {}}, *calls[2:]
        ]
    if len(calls) > 1:
        yield "by hand: first two calls swapped", [calls[1], calls[0], *calls[2:]]
        yield "by hand: names swapped", [
            {"name": calls[1]["name"], "arguments": calls[0]["arguments"]},
            {"name": calls[0]["name"], "arguments": calls[1]["arguments"]}, *calls[2:]
        ]
    for i, call in enumerate(calls):
        for key, value in call["arguments"].items():
            if isinstance(value, str) and len(value) > 3:
                yield "by hand: spaced out", with_argument(calls, i, key, " ".join(value))
                yield "by hand: in other words", with_argument(calls, i, key, f"the {value}")
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield "by hand: other sign", with_argument(calls, i, key, -value)
                yield "by hand: exponent", with_argument(calls, i, key, float(f"{value:e}"))
            if isinstance(value, list) and value and isinstance(value[0], list):
                yield "by hand: flattened", with_argument(calls, i, key, [x for y in value for x in y])


def load(category):
    def lines(path):
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    rows = lines(DATA / f"BFCL_v4_{category}.json")
    path = DATA / "possible_answer" / f"BFCL_v4_{category}.json"
    if not path.exists():
        return rows, {}
    return rows, {row["id"]: row["ground_truth"] for row in lines(path)}


def features(row, answers):
    """What is special about a row: the types of its arguments and of the values allowed."""
    messages = row["question"][0]
    found = {
        ("messages", min(3, len(messages)), messages[0]["role"]),
        ("functions", len(row["function"]) > 0),
    }
    for answer in answers:
        ((name, allowed),) = answer.items()
        properties = schema_of(row, name)["properties"]
        for key, values in allowed.items():
            schema = properties.get(key, {"type": None})
            items = schema.get("items", {}).get("type")
            first = next((type(v).__name__ for v in values if v != ""), None)
            found.add((schema["type"], items, first, "" in values))
    return found


def excerpt(rows, answers, count):
    """Few short rows that are special in as many ways as possible, in the order of the file."""
    size = {row["id"]: len(json.dumps(row)) for row in rows}
    chosen, covered = [], set()
    while len(chosen) < count:
        left = [row for row in rows if row not in chosen]
        best = max(left, key=lambda row: (
            min(3, len(features(row, answers.get(row["id"], [])) - covered)),
            len(row["function"]) > 0,
            -size[row["id"]],
        ))
        chosen.append(best)
        covered |= features(best, answers.get(best["id"], []))
    return [row for row in rows if row in chosen]


def cases_of(category, rows, answers, per_kind):
    counts, seen, cases = {}, set(), []
    for row in rows:
        allowed = answers.get(row["id"])
        made = list(by_hand(category, row, allowed))
        made += answers_to(row, allowed) if allowed is not None else answers_without_reference(row)
        for what, calls in made:
            identity = row["id"] + json.dumps(calls)
            if identity in seen:
                continue
            seen.add(identity)
            try:
                error = verdict(category, row, allowed, calls)
            except Exception as failure:  # the checker stumbles over some answers
                print(f"{row['id']}: {what}: {failure!r}", file=sys.stderr)
                continue
            kind = (what, error)
            counts[kind] = counts.get(kind, 0) + 1
            if counts[kind] <= per_kind:
                cases.append([row["id"], what, calls, error])
    return cases


def write_cases(path, cases):
    checker = f"bfcl-eval {importlib.metadata.version('bfcl-eval')}"
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    path.write_text(f'{{"checker": {json.dumps(checker)}, "cases": [\n{lines}\n]}}\n')
    wrong = sum(error is not None for *_, error in cases)
    print(f"{path.name}: {len(cases)} cases, {wrong} of them wrong")


def main():
    everything = Path(sys.argv[2]) if sys.argv[1:2] == ["--all"] else None
    for category, (count, per_kind) in CATEGORIES.items():
        rows, answers = load(category)
        if everything:
            everything.mkdir(parents=True, exist_ok=True)
            cases = cases_of(category, rows, answers, sys.maxsize)
            write_cases(everything / f"{category}.json", cases)
            continue
        chosen = excerpt(rows, answers, count)
        write = lambda path, objects: path.write_text("".join(json.dumps(o) + "\n" for o in objects))
        write(TESTS / f"data/bfcl/BFCL_v4_{category}.json", chosen)
        if answers:
            write(
                TESTS / f"data/bfcl/possible_answer/BFCL_v4_{category}.json",
                [{"id": row["id"], "ground_truth": answers[row["id"]]} for row in chosen],
            )
        cases = cases_of(category, chosen, answers, per_kind)
        write_cases(TESTS / f"golden/bfcl/{category}.json", cases)


main()
