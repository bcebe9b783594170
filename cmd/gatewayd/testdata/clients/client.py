"""A client that knows the topic state/catalogue and nothing else of the gateway: it finds an actor that can be written to, writes,
and receives what the actor publishes. Each message is checked against the JSON Schemas of the catalogue.

client.py PORT NUMBER: the numbers it writes are NUMBER above the minimum.
"""
import json
import queue
import sys

import jsonschema
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, number = int(sys.argv[1]), int(sys.argv[2])
heard = queue.Queue()
name = "python-%d" % number
client = mqtt.Client(name, protocol=mqtt.MQTTv5)
client.on_message = lambda client, data, message: heard.put(message)
client.connect("127.0.0.1", port)
client.loop_start()


def messages(topic):
    client.subscribe(topic, qos=1)  # now, and not when the first message is wanted: an answer does not wait

    def coming():
        while True:
            message = heard.get(timeout=30)
            if mqtt.topic_matches_sub(topic, message.topic):
                yield message

    return coming()


def first(topic):
    message = next(messages(topic))
    client.unsubscribe(topic)
    return json.loads(message.payload)


def schema(description, of):
    return {"$ref": "#/$defs/" + of, "$defs": description["$defs"]}


def check(value, description, of):
    jsonschema.Draft202012Validator(schema(description, of)).validate(value)


def build(description, rule):
    """Return the smallest value that a schema allows, whose numbers are NUMBER above the minimum."""
    if "$ref" in rule:
        return build(description, description["$defs"][rule["$ref"].rsplit("/", 1)[1]])
    if "enum" in rule:
        return rule["enum"][0]
    kind = rule.get("type")
    if kind == "object":
        return {key: build(description, rule["properties"][key]) for key in rule.get("required", [])}
    if kind == "array":
        return [build(description, rule["items"])] * max(1, rule.get("minItems", 0))
    if kind == "boolean":
        return True
    if kind == "string":
        return "x" * rule.get("minLength", 0)
    return rule.get("minimum", 0) + number


index = first("state/catalogue")
way = next(way for way in index["ways"] if way["door"] == "mqtt")
found = None
for kind in index["kinds"]:
    description = first("state/catalogue/Kind/" + kind["kind"])
    jsonschema.Draft202012Validator.check_schema(description)
    methods = [method for service in description["services"] for method in service["methods"] if method["name"].startswith("Write")]
    if methods and kind.get("actors"):
        found = kind["actors"][0], description, methods[0]
path, description, method = found
listing = first("state/catalogue/" + path)
assert listing["kind"] == description["kind"] and listing["path"] == path, listing

request = build(description, description["$defs"][method["request"]])
check(request, description, method["request"])
answers = messages(way["answer"].format(client=name, token="+"))
properties = Properties(PacketTypes.PUBLISH)
properties.ResponseTopic = way["answer"].format(client=name, token="1")
properties.CorrelationData = b"first"
client.publish(method["topic"].format(path=path), json.dumps(request), properties=properties)
answer = next(answers)
assert answer.properties.CorrelationData == b"first"
assert "error" not in dict(getattr(answer.properties, "UserProperty", [])), answer.payload
check(json.loads(answer.payload), description, method["response"])

client.publish(method["topic"].format(path=path), '{"nonsense": 1}', properties=properties)
answer = next(answers)
check(json.loads(answer.payload), description, description["error"])
assert ("error", "invalid_argument") in answer.properties.UserProperty, answer.properties

leaf = next(leaf for leaf in description["publishes"] if leaf["class"] == "data")
samples = messages(leaf["topic"].format(path=path))
for _ in range(3):
    value = json.loads(next(samples).payload)
    check(value, description, leaf["message"])
    assert value["samples"], value
client.disconnect()
print(path, method["name"], json.dumps(request), "and three messages of", leaf["message"])
