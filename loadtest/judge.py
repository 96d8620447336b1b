"""What real-model.sh asks of an answer and of the meter; what is wrong goes to standard error, with status 1.

answer chat|completions plain|stream ANSWER
meter PROVIDER plain|stream ANSWER METRICS_BEFORE METRICS_AFTER
transformers ANSWER METRICS_BEFORE METRICS_AFTER RECORDS
"""
import json
import re
import sys

PRICE = {"prompt": 10e-6, "completion": 20e-6}  # of a token, as real-model.sh configures it


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def must(holds, wrong):
    if not holds:
        sys.exit(wrong)


def plain(operation, text):
    answer = json.loads(text)
    must(answer["object"] == {"chat": "chat.completion", "completions": "text_completion"}[operation], f"object {answer['object']}")
    choice = answer["choices"][0]
    said = choice["message"]["content"] if operation == "chat" else choice["text"]
    must(said, "no text")
    must(choice["finish_reason"] in ("stop", "length"), f"finish_reason {choice['finish_reason']}")
    usage = answer["usage"]
    must(min(usage.values()) > 0, f"usage {usage}")
    must(usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"], f"usage does not add up: {usage}")


def stream(operation, text):
    must(text.endswith("data: [DONE]\n\n"), f"the stream ends with {text[-60:]!r}")
    events = [event.removeprefix("data: ") for event in text.split("\n\n")[:-1]]
    must(events.count("[DONE]") == 1, "more than one [DONE]")
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    pieces = [c["delta"].get("content") if operation == "chat" else c["text"] for c in choices]
    must(sum(map(bool, pieces)) > 1, f"{sum(map(bool, pieces))} events with text")
    finishes = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    must(finishes in (["stop"], ["length"]), f"finish reasons {finishes}")


def series(path, name, provider):
    """Values of a series for one provider, by its labels."""
    found = {}
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", read(path), re.MULTILINE):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if labels.get("provider", labels.get("ai_provider")) == provider:
            found[tuple(sorted(labels.items()))] = float(value)
    return found


def growth(name, provider, before, after):
    """What a series gained, as (labels, amount), without the rows that gained nothing."""
    old = series(before, name, provider)
    new = series(after, name, provider)
    return [(dict(labels), value - old.get(labels, 0)) for labels, value in new.items() if value != old.get(labels, 0)]


def meter(provider, way, answer, before, after):
    settled = growth("tollgate_settlements_total", provider, before, after)
    must([(labels["end"], n) for labels, n in settled] == [("complete", 1)], f"settlements {settled}")
    tokens = growth("tollgate_tokens_total", provider, before, after)
    wanted = {"plain": "provider", "stream": "estimated"}[way]
    must({labels["provenance"] for labels, _ in tokens} == {wanted}, f"provenance is not {wanted}: {tokens}")
    counts = {"prompt": 0, "completion": 0}
    for labels, n in tokens:
        counts["completion" if labels["class"] in ("output", "reasoning") else "prompt"] += n
    must(all(counts.values()), f"nothing counted: {tokens}")
    if way == "plain":
        usage = json.loads(read(answer))["usage"]
        for kind, n in counts.items():
            must(n == usage[f"{kind}_tokens"], f"{kind} tokens: metered {n}, the answer says {usage}")
    cost = sum(n for _, n in growth("tollgate_cost_total", provider, before, after))
    owed = sum(n * PRICE[kind] for kind, n in counts.items())
    must(abs(cost - owed) < 1e-9, f"cost {cost}, owed {owed}")
    requests = sum(n for _, n in growth("kong_ai_llm_requests_total", provider, before, after))
    must(requests == 1, f"kong_ai_llm_requests_total grew by {requests}")


def transformers(answer, before, after, records):
    must(read(answer).strip(), "the model said nothing")
    parts = json.loads(read(records).splitlines()[-1])["ai"]
    must(sorted(parts) == ["ai-request-transformer", "ai-response-transformer"], f"parts of the record: {sorted(parts)}")
    growing = {name: growth(name, "mistral", before, after) for name in
               ("tollgate_settlements_total", "tollgate_tokens_total", "tollgate_cost_total")}
    for side in ("request", "response"):
        model, usage = f"{side}-stories", parts[f"ai-{side}-transformer"]["usage"]
        of = {name: [(labels, n) for labels, n in rows if labels["model"] == model] for name, rows in growing.items()}
        settled = [(labels["end"], n) for labels, n in of["tollgate_settlements_total"]]
        must(settled == [("complete", 1)], f"{model}: settlements {settled}")
        counted = sum(n for _, n in of["tollgate_tokens_total"])
        must(counted == usage["total_tokens"] > 0, f"{model}: metered {counted}, logged {usage}")
        must({labels["provenance"] for labels, _ in of["tollgate_tokens_total"]} == {"provider"}, f"{model}: not the server's counts")
        owed = sum(usage[f"{kind}_tokens"] * price for kind, price in PRICE.items())
        cost = sum(n for _, n in of["tollgate_cost_total"])
        must(abs(cost - owed) < 1e-9 and abs(usage["cost"] - owed) < 1e-9, f"{model}: cost {cost}, logged {usage}, owed {owed}")


match sys.argv[1:]:
    case ["answer", operation, "plain", path]:
        plain(operation, read(path))
    case ["answer", operation, "stream", path]:
        stream(operation, read(path))
    case ["meter", provider, way, answer, before, after]:
        meter(provider, way, answer, before, after)
    case ["transformers", answer, before, after, records]:
        transformers(answer, before, after, records)
    case _:
        sys.exit(__doc__)
