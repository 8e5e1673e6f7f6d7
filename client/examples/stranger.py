# SPDX-License-Identifier: Apache-2.0
"""A client of kvgated that knows nothing but its .proto files.

    pip install grpcio grpcio-tools
    python client/examples/stranger.py unix:/var/lib/kvgate/run/grpc.sock

Opens a namespace, stores three blocks of a chain, looks them up, reads them back and deletes them.
"""

import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = 10


def generate(folder):
    """Makes kvgate_pb2 and kvgate_pb2_grpc, as anybody would."""
    proto = ROOT / "proto/kvgate/v1"
    command = ["protoc", f"-I{proto}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main([*command, str(proto / "kvgate.proto")]) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, folder)


def main(target):
    with tempfile.TemporaryDirectory() as folder:
        generate(folder)
        import kvgate_pb2 as pb
        import kvgate_pb2_grpc

    # A message may be 69 MiB; gRPC's own default stops at 4 MiB.
    options = [("grpc.max_receive_message_length", 69 << 20)]
    with grpc.insecure_channel(target, options=options) as channel:
        stub = kvgate_pb2_grpc.KvCacheStub(channel)

        # Everything that changes the meaning of the bytes is part of the identity.
        group = pb.KvGroup(
            kind=pb.GROUP_KIND_FULL_ATTENTION,
            block_tokens=16,
            layer_names=["layers.0", "layers.1"],
            spec="full",
            page_bytes=1 << 20,
        )
        identity = pb.Identity(
            model="example",
            weights_id="example-weights-1",
            dtype="bfloat16",
            layout="opaque",
            groups=[group],
            prefix_hash_algorithm="sha256_cbor",
        )
        opened = stub.Open(pb.OpenRequest(identity=identity), timeout=TIMEOUT_S)
        namespace = opened.namespace
        print(f"opened: incarnation {opened.incarnation:#x}, disk {opened.disk_mode}")

        keys = [b"block-0", b"block-1", b"block-2"]
        values = [bytes([i]) * (2 << 20) for i in range(3)]
        stored = stub.Set(
            pb.SetRequest(
                namespace=namespace,
                entries=[
                    pb.SetEntry(key=key, value_bytes=len(value))
                    for key, value in zip(keys, values, strict=True)
                ],
                values=values,
            ),
            timeout=TIMEOUT_S,
        )
        print("stored:", [pb.SetState.Name(result.state) for result in stored.results])

        query = pb.GroupQuery(keys=[*keys, b"block-3"])
        held = stub.Lookup(
            pb.LookupRequest(namespace=namespace, queries=[query], pin_ms=5000), timeout=TIMEOUT_S
        )
        print(f"held: {held.groups[0].held} blocks, {held.boundary_tokens} tokens")

        # The pin token stands for the keys, which then need not be sent again.
        handle = pb.Handle(pin_token=held.pin_token, count=3)
        got = stub.Get(pb.GetRequest(namespace=namespace, handle=handle), timeout=TIMEOUT_S)
        assert list(got.values) == values
        print("got:", [len(value) for value in got.values], "bytes")

        deleted = stub.Delete(pb.DeleteRequest(namespace=namespace, keys=keys), timeout=TIMEOUT_S)
        again = stub.Get(pb.GetRequest(namespace=namespace, keys=keys), timeout=TIMEOUT_S)
        assert all(deleted.found)
        print("deleted:", [pb.GetState.Name(result.state) for result in again.results])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
