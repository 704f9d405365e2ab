"""Ask the server at HOST:PORT for its gRPC health; exit with 0 if it serves, else with 1.

The health service needs no API key.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 4.0
NO_PROXY = [("grpc.enable_http_proxy", 0)]


def serves(address: str) -> bool:
    with grpc.insecure_channel(address, options=NO_PROXY) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


if __name__ == "__main__":
    sys.exit(0 if serves(sys.argv[1]) else 1)
