"""A metric of a third party: how flat the forget images are."""

from unlearnbench.bench.types import Metric, Value

REGISTER = {
    "name": "flatness",
    "summary": "mean deviation of the forget images' pixels",
    "direction": "up",
    "needs": ["items"],
    "function": "METRIC",
}


def per_item(items):
    return items["flatness"].where(items["split"] == "forget")


def reduce(scores, view):
    return {"flatness": Value(value=float(scores.mean()), n=int(scores.notna().sum()))}


METRIC = Metric(per_item=per_item, reduce=reduce)
