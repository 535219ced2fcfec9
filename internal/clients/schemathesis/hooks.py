"""Lets half of what schemathesis makes up reach an engine."""

import schemathesis

SERVED = "meta-llama/Meta-Llama-3.1-70B-Instruct"


@schemathesis.hook
def before_call(context, case, kwargs):
    # No made-up name is served. The empty one stays, so that refusals are tested, too.
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and case.body["model"]:
        case.body["model"] = SERVED
