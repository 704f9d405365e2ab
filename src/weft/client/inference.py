"""Generating, and what can be named."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Unpack

from weft.protos.v1 import inference_pb2

from .calls import Calls
from .generation import Answer, PromptOptions, generate_request


class InferenceCalls(Calls):
    """The operations of InferenceService."""

    async def generate(
        self, model: str, *, answer: Answer | None = None, **options: Unpack[PromptOptions]
    ) -> AsyncGenerator[inference_pb2.Chunk, None]:
        """Stream chunks as they come; `answer` is filled on the way."""
        answer = Answer() if answer is None else answer
        request = generate_request(model, **options)
        async with aclosing(self.stream(request, inference_pb2.GenerateResponse)) as responses:
            async for response in responses:
                chunk = answer.add(response)
                if chunk is not None:
                    yield chunk

    async def complete(self, model: str, **options: Unpack[PromptOptions]) -> Answer:
        """Collect the whole answer."""
        answer = Answer()
        async with aclosing(self.generate(model, answer=answer, **options)) as stream:
            async for _ in stream:
                pass
        return answer

    async def tokenize(
        self,
        model: str,
        *,
        text: str | None = None,
        chat: Iterable[inference_pb2.ChatMessage] | None = None,
    ) -> inference_pb2.TokenizeResponse:
        """Show the tokens of a text or a chat."""
        request = inference_pb2.TokenizeRequest(
            model=model,
            text=text,
            chat=None if chat is None else inference_pb2.ChatPrompt(messages=chat),
        )
        return await self.call(request, inference_pb2.TokenizeResponse)

    async def models(self, *, all_versions: bool = False) -> list[inference_pb2.Model]:
        """List what can be named, the base first."""
        request = inference_pb2.ListModelsRequest(all_versions=all_versions)
        return list((await self.collect(request, inference_pb2.ListModelsResponse)).models)

    async def model(self, reference: str) -> inference_pb2.Model:
        """Resolve a reference."""
        request = inference_pb2.GetModelRequest(model=reference)
        return (await self.call(request, inference_pb2.GetModelResponse)).model
