"""The same as client.py with protobuf: its message types are built from the descriptors in the catalogue.

binary.py PORT NUMBER
"""
import json
import queue
import sys

import paho.mqtt.client as mqtt
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, number = int(sys.argv[1]), int(sys.argv[2])
heard = queue.Queue()
name = "binary-%d" % number
client = mqtt.Client(name, protocol=mqtt.MQTTv5)
client.on_message = lambda client, data, message: heard.put(message)
client.connect("127.0.0.1", port)
client.loop_start()


def messages(topic):
    client.subscribe(topic, qos=1)
    while True:
        message = heard.get(timeout=30)
        if mqtt.topic_matches_sub(topic, message.topic):
            yield message


index = json.loads(next(messages("state/catalogue")).payload)
for kind in index["kinds"]:
    message = next(messages("state/catalogue/Kind/%s/descriptors" % kind["kind"]))
    assert message.properties.ContentType == "application/protobuf", message.properties
    files = descriptor_pb2.FileDescriptorSet.FromString(message.payload)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    services = [pool.FindServiceByName(service) for service in kind["services"]]
    methods = [method for service in services for method in service.methods if method.name.startswith("Write")]
    if methods and kind.get("actors"):
        method, path, types = methods[0], kind["actors"][0], message_factory.MessageFactory(pool)
        leaf = pool.FindMessageTypeByName("sample.v1.Samples")

request = types.GetPrototype(method.input_type)()
for field in method.input_type.fields:
    if field.label == field.LABEL_REPEATED:
        getattr(request, field.name).append(number)
    else:
        setattr(request, field.name, number)
answers = messages("reply/%s/+" % name)
properties = Properties(PacketTypes.PUBLISH)
properties.ResponseTopic = "reply/%s/1" % name
properties.ContentType = "application/protobuf"
client.publish("cmd/%s/%s" % (path, method.name), request.SerializeToString(), properties=properties)
answer = next(answers)
assert answer.properties.ContentType == "application/protobuf", (answer.properties, answer.payload)
types.GetPrototype(method.output_type).FromString(answer.payload)

samples = messages("data/%s/+" % path)
for _ in range(3):
    value = json_format.Parse(next(samples).payload, types.GetPrototype(leaf)())
    assert value.samples and value.sequence, value
client.disconnect()
print(path, method.name, json_format.MessageToJson(request, indent=None), "and three messages of", leaf.full_name)
