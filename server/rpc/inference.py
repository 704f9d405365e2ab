"""InferenceService: generate, tokenize, and what can be named."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from weft.adapters.errors import ModelNotFound
from weft.adapters.sites import BaseFacts
from weft.protos.v1 import inference_pb2, inference_pb2_grpc, types_pb2
from weft.server.channel import Submit

from .accounting import Account
from .auth import CALLER
from .border import Context, time_left_s
from .engine_link import EngineLink
from .fields import MAX_REQUEST_ID, read_page_size
from .generation import Generation, longest_completion
from .prompts import Prompt, Tokenizer
from .requests import Defaults, Plan, read_generate, read_tokenize
from .response_cache import ResponseCache
from .targets import Target, Targets


class InferenceService(inference_pb2_grpc.InferenceServiceServicer):
    """Serves the base and every adapter that the caller may name."""

    def __init__(
        self,
        *,
        facts: BaseFacts,
        tokenizer: Tokenizer,
        defaults: Defaults,
        targets: Targets,
        link: EngineLink,
        max_request_s: float,
        cache: ResponseCache,
    ) -> None:
        self._facts = facts
        self._tokenizer = tokenizer
        self._defaults = defaults
        self._targets = targets
        self._link = link
        self._max_request_s = max_request_s
        self._cache = cache

    async def Generate(
        self, request: inference_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[inference_pb2.GenerateResponse]:
        caller = CALLER.get()
        account = Account(
            caller,
            request_id=request.request_id[:MAX_REQUEST_ID],
            model=request.model,
            peer=context.peer(),  # of a cancelled call it is a segmentation fault, grpcio 1.85.1
        )
        deadline = time.monotonic() + time_left_s(context, cap_s=self._max_request_s)
        with account:
            plan = read_generate(request, self._defaults, vocab_size=self._facts.vocab_size)
            account.request_id = plan.request_id
            account.target = target = await self._targets.resolve(caller, request.model, context)
            account.generation = generation = Generation(plan, self._tokenizer)
            prompt = await self._prompt(request)
            welcome = self._link.require_engine()
            max_tokens = longest_completion(
                plan, prompt_tokens=len(prompt.tokens), max_context=welcome.max_context
            )
            await context.send_initial_metadata((("x-weft-digest", target.digest),))
            yield inference_pb2.GenerateResponse(resolved=self._resolved(target, plan))

            def submit(number: int, index: int, first: int | None) -> Submit:
                return Submit(
                    stream=number,
                    digest=target.adapter_digest,
                    tokens=prompt.tokens,
                    sampling=plan.sampling_of(index),
                    max_tokens=max_tokens,
                    stop_tokens=plan.stop_tokens,
                    salt=caller.tenant,
                    logprobs=plan.logprobs,
                    deadline=deadline,
                    priority=plan.priority,
                    min_tokens=plan.min_tokens,
                    grammar=plan.grammar,
                    after=first,
                    prompt_logprobs=None if index else plan.prompt_logprobs,
                    beams=plan.beams,
                )

            key = self._cache.key_of(plan, submit(0, 0, None))
            if (kept := self._cache.find(key)) is not None:
                for response in generation.replay(kept):
                    yield response
                return
            answer = []
            async with aclosing(generation.run(self._link, submit)) as responses:
                async for response in responses:
                    if key is not None:
                        answer.append(response)
                    yield response
            self._cache.keep(key, answer)

    async def Tokenize(
        self, request: inference_pb2.TokenizeRequest, context: Context
    ) -> inference_pb2.TokenizeResponse:
        read_tokenize(request)
        target = await self._targets.resolve(CALLER.get(), request.model, context)
        prompt = await self._prompt(request)
        return inference_pb2.TokenizeResponse(
            resolved=self._resolved(target, None),
            token_ids=prompt.tokens,
            tokens=map(self._tokenizer.token_bytes, prompt.tokens),
            text=prompt.text,
            max_context=self._facts.max_context,
        )

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Context
    ) -> inference_pb2.ListModelsResponse:
        size = read_page_size(request.page_size)
        page = self._targets.list(
            CALLER.get(), all_versions=request.all_versions, after=request.page_token
        )
        return inference_pb2.ListModelsResponse(
            models=[self._model(target) for target in page[:size]],
            next_page_token=page[size - 1].model if len(page) > size else "",
        )

    async def GetModel(
        self, request: inference_pb2.GetModelRequest, context: Context
    ) -> inference_pb2.GetModelResponse:
        if not request.model:
            raise ModelNotFound("an empty reference means no model")
        target = await self._targets.resolve(CALLER.get(), request.model, context)
        return inference_pb2.GetModelResponse(model=self._model(target))

    async def _prompt(
        self, request: inference_pb2.GenerateRequest | inference_pb2.TokenizeRequest
    ) -> Prompt:
        if request.HasField("chat"):
            return await self._tokenizer.encode_chat(request.chat)
        if request.HasField("text"):
            return await self._tokenizer.encode_text(request.text)
        assert isinstance(request, inference_pb2.GenerateRequest)
        return Prompt("", list(request.tokens.ids))

    def _resolved(self, target: Target, plan: Plan | None) -> types_pb2.ResolvedAdapter:
        resolved = self._targets.resolved(target)
        if plan is not None:
            resolved.seed, resolved.request_id = plan.sampling.seed, plan.request_id
        return resolved

    def _model(self, target: Target) -> inference_pb2.Model:
        is_base = target.adapter_digest is None
        return inference_pb2.Model(
            model=target.model,
            kind=inference_pb2.MODEL_KIND_BASE if is_base else inference_pb2.MODEL_KIND_ADAPTER,
            digest=target.digest,
            adapter=target.adapter,
            version=target.version,
            aliases=target.aliases,
            base=self._facts.name,
            base_digest=self._facts.digest,
            precision=self._facts.precision,
            max_context=self._facts.max_context,
            state=target.state,
            created_ms=target.created_ms,
        )
