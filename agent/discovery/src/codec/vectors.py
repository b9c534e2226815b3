#!/usr/bin/env python3
"""Computes vectors.txt from the description of the encoding alone; shares no code with the package."""
import struct
import zlib

GA = 4_200_000_001
KEY = 0x0123456789ABCDEF


def fnv(text):
    h = 0x811C9DC5
    for octet in text.encode():
        h = (h ^ octet) * 0x01000193 & 0xFFFFFFFF
    return h


def tlv(kind, value):
    return bytes([kind, len(value)]) + value


def named(text):
    return bytes([len(text)]) + text.encode()


def service(name, state, priority, weight, ports):
    value = named(name) + bytes([state << 4 | priority]) + struct.pack(">H", weight)
    for protocol, number, port_name in ports:
        value += bytes([protocol]) + struct.pack(">H", number) + named(port_name)
    return tlv(1, value)


def slots(payload):
    octets = struct.pack(">HI", len(payload), zlib.crc32(payload)) + payload
    octets += bytes(-len(octets) % 6)
    for index in range(len(octets) // 6):
        a, b = struct.unpack(">HI", octets[6 * index : 6 * index + 6])
        yield (0x81000000 | index << 16 | a, b)


def show(title, plane, payload):
    plane = plane + [(12, KEY >> 32), (13, KEY & 0xFFFFFFFF)]
    print("#", title)
    for d1, d2 in sorted(plane + (list(slots(payload)) if payload else [])):
        print(f"{GA}:{d1}:{d2}")
    print()


show(
    "one service with one port",
    [(1, 0x01000002), (2, fnv("default")), (3, fnv("web.default")), (6, 0)],
    service("web", 0, 0, 1, [(6, 80, "http")]),
)
show("an address without services", [(1, 0x01000000), (6, 0)], b"")
show(
    "everything",
    [
        (1, 0x01000000 | 1 | 2 | 8),
        (2, fnv("default")),
        (2, fnv("shop")),
        (3, fnv("web.default")),
        (3, fnv("api.shop")),
        (4, 42),
        (5, 1 << 16 | 2),
        (6, 1),
        (7, 2),
        (8, 9),
    ],
    # Ports stand sorted by name, protocol and number; tags sorted; the namespace `default` first.
    service("web", 0, 3, 100, [(6, 80, "http"), (6, 443, "https")])
    + tlv(2, b"canary")
    + tlv(2, b"version=2")
    + tlv(3, b"shop")
    + service("api", 1, 0, 1, [(6, 9000, "")])
    + tlv(4, b"web-1")
    + tlv(5, b"h1")
    + tlv(6, struct.pack(">H", 5)),
)
