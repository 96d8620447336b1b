"""Writes tests/fixtures/sigv4.json: requests, and the signatures that botocore gives them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install botocore
    /tmp/venv/bin/python tests/clients/sigv4_table.py > tests/fixtures/sigv4.json

The requests are drawn from a fixed seed, so that the table only changes with this script.
"""

import datetime
import json
import random
import sys
from unittest import mock
from urllib.parse import quote

import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

COUNT = 50
REGIONS = ["us-east-1", "eu-central-1", "ap-northeast-2", "us-gov-west-1"]
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.amazon.nova-lite-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
    "a b~c_d.e",
    "modèle/é+%",
]
# Escaped as AWS's rule has it: of what is not (`%7E`), botocore signs the text as it stands, where the
# rule is to unescape it first.
QUERIES = ["", "", "a=1", "b=2&a=1", "a=2&a=1", "empty=", "k=a%20b%2Bc%2Fd", "%C3%A9=~&z=%25"]
HOSTS = ["bedrock-runtime.{}.amazonaws.com", "vpce-1.bedrock-runtime.{}.vpce.amazonaws.com:8443"]
BODIES = ["", "{}", '{"messages":[{"role":"user","content":[{"text":"Grüße \\n 日本"}]}]}', "x" * 200]


def draw(dice):
    region, token = dice.choice(REGIONS), dice.choice([None, None, "IQoJb3JpZ2luX2VjE/+=="])
    model = quote(dice.choice(MODELS), safe="-._~")
    path = dice.choice(["/model/{}/converse", "/model/{}/converse-stream", "/{}", "/a//b/../{}", "/"])
    when = datetime.datetime(2000, 1, 1) + datetime.timedelta(seconds=dice.randrange(10**9))
    return {
        "method": dice.choice(["POST", "POST", "POST", "GET", "PUT"]),
        "host": dice.choice(HOSTS).format(region),
        "path": path.format(model),
        "query": dice.choice(QUERIES),
        "content_type": dice.choice([None, "application/json", "application/json; charset=utf-8"]),
        "body": dice.choice(BODIES),
        "time": int(when.replace(tzinfo=datetime.timezone.utc).timestamp()),
        "region": region,
        "service": "bedrock",
        "key_id": "AKIDEXAMPLE",
        "secret": dice.choice(["wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "short"]),
        "token": token,
    }


def sign(case):
    query = "?" + case["query"] if case["query"] else ""
    url = "https://{}{}{}".format(case["host"], case["path"], query)
    headers = {"content-type": case["content_type"]} if case["content_type"] else {}
    request = AWSRequest(method=case["method"], url=url, data=case["body"].encode(), headers=headers)
    keys = Credentials(case["key_id"], case["secret"], case["token"])
    now = datetime.datetime.fromtimestamp(case["time"], datetime.timezone.utc)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now.replace(tzinfo=None)):
        SigV4Auth(keys, case["service"], case["region"]).add_auth(request)
    return request.headers["Authorization"]


def main():
    dice = random.Random(4)
    cases = [draw(dice) for _ in range(COUNT)]
    for case in cases:
        case["authorization"] = sign(case)
    table = {"source": "botocore " + botocore.__version__, "cases": cases}
    json.dump(table, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


main()
