"""The ``btx`` command: one verb per job, each a thin layer over ``btx.tools``, ``btx.compose`` or ``btx.sim``."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from btx import __version__, venues
from btx.errors import BtxError, ConfigError
from btx.model.time import NS_PER_DAY, parse_duration

__all__ = (
    "chaos",
    "cli",
    "conformance",
    "demo",
    "download",
    "explain",
    "history",
    "list_history",
    "list_venues",
    "main",
    "new",
    "orders",
    "panic",
    "parity",
    "preflight",
    "remove_history",
    "replay",
    "resume",
    "sim",
    "verify",
)

_SYNTHETIC_WARMUP_NS = 3 * NS_PER_DAY


if TYPE_CHECKING:
    _ParamType = click.ParamType[int | None]
else:
    _ParamType = click.ParamType  # not generic in all releases that would do


class _Duration(_ParamType):
    """Market time in nanoseconds, or one ``word`` for what no number says."""

    name = "duration"

    def __init__(self, word: str, meaning: int | None) -> None:
        self._word = word
        self._meaning = meaning

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == self._word:
            return self._meaning
        try:
            return parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is no duration: write it like 90m, 12h or 7d, or {self._word}", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="btx")
def cli() -> None:
    """Trade with an unchanged backtrader strategy: on a simulator, a test net, or for real."""


@cli.command()
@click.option("--venue", default="binance", show_default=True, help="The adapter to trade on.")
@click.option(
    "--data",
    "files",
    multiple=True,
    metavar="[SYMBOL=]FILE",
    help="Play a file of 1m klines (.csv, .csv.gz); repeatable.",
)
@click.option(
    "--span",
    type=_Duration("all", None),
    default="3d",
    show_default=True,
    help="Market time to play: 90m, 12h, 7d, or all.",
)
@click.option("--seed", default=1, show_default=True, help="Seed of the market and of everything synthetic in it.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("btx-demo.png"),
    show_default=True,
    help="Where the picture of prices, trades and equity goes.",
)
@click.option(
    "--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the result as JSON."
)
def demo(venue: str, files: tuple[str, ...], span: int | None, seed: int, picture: Path, report: Path | None) -> None:
    """Trade an SMA cross on the venue in the box, then compare the books to the last digit."""
    from btx.tools.demo import run_demo

    sys.exit(run_demo(venue=venue, files=files, span_ns=span, seed=seed, picture=picture, report=report))


@cli.command()
@click.argument("strategy", metavar="FILE.py[:CLASS]", required=False)
@click.option("--seed", default=1, show_default=True, help="The first schedule; run N has seed + N.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(min=1), help="How many schedules to play.")
@click.option("--minutes", default=40, show_default=True, type=click.IntRange(min=5), help="Market minutes of a run.")
@click.option("--venue", default="binance", show_default=True, help="The adapter to trade on.")
@click.option("--symbol", "symbols", multiple=True, default=("BTC/USDT",), show_default=True, help="Repeatable.")
@click.option("--market", help="spot, usdm, ...; the adapter's first when not given.")
@click.option("--hedge", is_flag=True, help="Of a market on margin: a long and a short data of each symbol.")
@click.option("--points", is_flag=True, help="List the points at which a process may be killed, and end.")
def chaos(
    strategy: str | None,
    seed: int,
    runs: int,
    minutes: int,
    venue: str,
    symbols: tuple[str, ...],
    market: str | None,
    *,
    hedge: bool,
    points: bool,
) -> None:
    """Run your own strategy under seeded faults and kill -9, compare all books, and shrink what fails."""
    if points:
        from btx.runtime.faultpoints import POINTS

        for point, meaning in POINTS.items():
            click.echo(f"{point:<20} {meaning}")
        return
    if strategy is None:
        raise click.UsageError("name the strategy, like strategy.py:MyStrategy")
    from btx.tools.chaos import Job, run_chaos

    mode = "hedge" if hedge else None
    job = Job(strategy=strategy, venue=venue, symbols=symbols, minutes=minutes, market=market, position_mode=mode)
    sys.exit(run_chaos(job, seed=seed, runs=runs))


@cli.command("venues")
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print a page of the documentation: NAME's, or all side by side.")
def list_venues(name: str | None, *, markdown: bool) -> None:
    """List the installed adapters, or what the venue NAME does for a strategy."""
    if name is not None:
        from btx.tools.venues import run_venue

        sys.exit(run_venue(name, markdown=markdown))
    if markdown:
        from btx.tools.venues import run_matrix

        sys.exit(run_matrix(venues()))
    from btx.tools.conformance import list_venues as list_all

    sys.exit(list_all())


@cli.command()
@click.argument("name", required=False)
@click.option("--market", help="One market; all of the adapter's when not given.")
@click.option("--group", "groups", multiple=True, help="Cards of this group, like ORD; repeatable.")
@click.option("--card", "numbers", multiple=True, help="A single card, like ORD-07; repeatable.")
@click.option("--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Also write the cards as JSON.")
@click.option("--date", default="", help="What the cards say they were made on, like 2026-05-01.")
@click.option("--markdown", is_flag=True, help="Without NAME: list the cards as a page of the documentation.")
def conformance(
    name: str | None,
    market: str | None,
    groups: tuple[str, ...],
    numbers: tuple[str, ...],
    report: Path | None,
    date: str,
    *,
    markdown: bool,
) -> None:
    """Prove the adapter NAME on its own simulator, card by card: 1 when one fails. Without NAME: list the cards."""
    if name is None:
        from btx.tools.conformance import list_cards

        sys.exit(list_cards(markdown=markdown))
    from btx.tools.conformance import run_conformance

    sys.exit(run_conformance(name, market=market, groups=groups, numbers=numbers, report=report, date=date))


@cli.command()
@click.argument("journal", required=False)
def orders(journal: str | None) -> None:
    """List the orders of JOURNAL: a file, or the name a world was kept under; the only one when not given."""
    from btx.tools.orders import run_orders

    sys.exit(run_orders(journal))


@cli.command()
@click.argument("order")
@click.argument("journal", required=False)
def explain(order: str, journal: str | None) -> None:
    """Tell the whole story of ORDER, a client order id, from the strategy's bar to the last fill."""
    from btx.tools.orders import run_explain

    sys.exit(run_explain(order, journal))


_ENV = click.option(
    "--env", default="sim", show_default=True, help="sim, paper, testnet or live; keys as for btx.load."
)
_MARKET = click.option("--market", help="spot, usdm, ...; the adapter's first when not given.")
_WORLD = click.option("--world", help="Of env=sim: the name the world is kept under; the only one when not given.")


@cli.command()
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder to write it below.  [default: where you are]",
)
@click.option("--margin", is_flag=True, help="With a market of perpetuals beside the spot market.")
def new(name: str, into: Path, *, margin: bool) -> None:
    """Write a distribution btx-NAME: an adapter for the venue NAME, its simulator and its tests, all green."""
    from btx.scaffold.new import distribution_name, new_adapter

    files = new_adapter(name, into, margin=margin)
    folder = into / distribution_name(name)
    click.echo(f"{folder}: {len(files)} files. Next, and then step by step as its README says:")
    click.echo(f"  cd {folder}")
    click.echo('  pip install -e ".[test]" && pytest')


@cli.command()
@click.argument("venue")
@_ENV
@_MARKET
@_WORLD
@click.option("--flatten", is_flag=True, help="Cancel every order, and sell or close what is held at the market.")
@click.option("--all", "everything", is_flag=True, help="Cancel orders that only reduce what is held, too.")
@click.option("--symbol", "symbols", multiple=True, help="Only this instrument, like BTC/USDT; repeatable.")
@click.option("--reason", default="btx panic", show_default=True, help="What the halt says.")
@click.option("--yes", is_flag=True, help="Flatten in env=live without asking.")
def panic(
    venue: str,
    env: str,
    market: str | None,
    world: str | None,
    flatten: bool,
    everything: bool,
    symbols: tuple[str, ...],
    reason: str,
    yes: bool,
) -> None:
    """Halt an account of VENUE and cancel its open orders, whoever trades on it: exit code 0 when all is confirmed."""
    from btx.tools.accounts import target
    from btx.tools.panic import panic as run

    aim = target(venue, env=env, market=market, world=world)
    if flatten and env == "live" and not yes:
        click.confirm(f"Sell or close what {aim.session} holds, for real, at the market?", abort=True)
    sys.exit(run(aim, flatten=flatten, everything=everything, symbols=symbols, reason=reason))


@cli.command()
@click.argument("venue")
@click.option(
    "--env",
    type=click.Choice(["live", "testnet", "sim"]),
    default="sim",
    show_default=True,
    help="Whose account; keys as for btx.load.",
)
@_MARKET
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    help="What to trade; repeatable.  [default: BTC/USDT; of coinm BTC/USD]",
)
@click.option("--leverage", type=click.IntRange(min=1), help="Of a market on margin: the one to trade with.")
@click.option("--margin-mode", help="cross or isolated, likewise.")
@click.option("--position-mode", help="one_way or hedge, likewise.")
@click.option("--allow-withdraw", is_flag=True, help="A key that may withdraw is no failure.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
def preflight(
    venue: str,
    env: str,
    market: str | None,
    symbols: tuple[str, ...],
    leverage: int | None,
    margin_mode: str | None,
    position_mode: str | None,
    allow_withdraw: bool,
    as_json: bool,
) -> None:
    """Look at key, clock, account, instruments and disk before the first order at VENUE: exit code 1 if one fails."""
    from btx.tools.preflight import run_preflight

    sys.exit(
        run_preflight(
            venue,
            env=env,
            market=market,
            symbols=symbols,
            leverage=leverage,
            margin_mode=margin_mode,
            position_mode=position_mode,
            allow_withdraw=allow_withdraw,
            as_json=as_json,
        )
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), help="Market seconds per second; as fast as it goes."
)
@click.option("--strategy", metavar="FILE.py[:CLASS]", help="Let a strategy of yours see it; its orders are refused.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
def replay(file: Path, speed: float | None, strategy: str | None, as_json: bool) -> None:
    """Drive the live path with the recording FILE: exit code 0 when it makes the same of it, 1 if not, 2 unreadable."""
    from btx.tools.replay import run_replay

    sys.exit(run_replay(file, speed=speed, strategy=strategy, as_json=as_json))


@cli.command()
@click.argument("strategy", metavar="FILE.py[:CLASS]")
@click.option(
    "--data", "files", multiple=True, metavar="[SYMBOL=]FILE", help="1m klines; repeatable.  [default: a seeded market]"
)
@click.option("--venue", default="binance", show_default=True, help="The adapter to trade on.")
@_MARKET
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    help="Of the seeded market; repeatable.  [default: BTC/USDT; of coinm BTC/USD]",
)
@click.option("--strategy", "class_name", metavar="CLASS", help="Which strategy of the file, when it has several.")
@click.option("--seed", default=1, show_default=True, help="Seed of what happens inside the bars.")
@click.option(
    "--span",
    type=_Duration("all", None),
    default="all",
    show_default=True,
    help="Market time to play: 90m, 12h, 7d, or all; of a seeded market a day.",
)
@click.option("--percents", default=10.0, show_default=True, help="Of the cash, for orders that say no size.")
@click.option(
    "--funding", multiple=True, metavar="[SYMBOL=]FILE", help="Of a market on margin: rates to settle; repeatable."
)
@click.option("--leverage", type=click.IntRange(min=1), help="Of a market on margin.  [default: a new account's]")
@click.option("--margin-mode", help="cross or isolated, likewise.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report there, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")
def parity(
    strategy: str,
    files: tuple[str, ...],
    venue: str,
    market: str | None,
    symbols: tuple[str, ...],
    class_name: str | None,
    seed: int,
    span: int | None,
    percents: float,
    funding: tuple[str, ...],
    leverage: int | None,
    margin_mode: str | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run a strategy in a backtest and on the simulator: exit code 0 when both do the same, 1 if not, 2 cannot run."""
    from btx.tools.parity import run_parity

    sys.exit(
        run_parity(
            strategy if class_name is None else f"{strategy}:{class_name}",
            venue=venue,
            market=market,
            files=files,
            symbols=symbols,
            seed=seed,
            span_ns=span,
            percents=percents,
            funding=funding,
            leverage=leverage,
            margin_mode=margin_mode,
            html=html,
            as_json=as_json,
        )
    )


@cli.command()
@click.argument("venue")
@_ENV
@_MARKET
@_WORLD
@click.option("--yes", is_flag=True, help="Do not ask: you have looked.")
def resume(venue: str, env: str, market: str | None, world: str | None, yes: bool) -> None:
    """Show why an account of VENUE is halted, and let it trade again."""
    from btx.tools.panic import run_resume

    agreed = (lambda _question: True) if yes else click.confirm
    sys.exit(run_resume(venue, env=env, market=market, world=world, agreed=agreed))


@cli.command()
@click.argument("venue")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port of the venue's protocol; 0 takes a free one.",
)
@click.option("--market", help="spot, usdm, ...; the adapter's first when not given.")
@click.option("--data", "files", multiple=True, metavar="[SYMBOL=]FILE", help="Play a file of 1m klines; repeatable.")
@click.option(
    "--funding",
    "rates",
    multiple=True,
    metavar="[SYMBOL=]FILE",
    help="Of a market on margin: settle the funding rates of a file; repeatable.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Market seconds per second.  [default: 1]",
)
@click.option("--lockstep", is_flag=True, help="Let the control channel move the market, instead of the clock.")
@click.option("--seed", default=1, show_default=True, help="Seed of everything synthetic.")
@click.option(
    "--warmup",
    type=_Duration("none", 0),
    help="So much of the market is history at the start: 90m, 12h, 7d, or none.  [default: 3d; none of a file]",
)
@click.option("--span", type=_Duration("all", None), default="all", show_default=True, help="Market time to play.")
@click.option("--rebase/--no-rebase", default=None, help="Move the data so that it starts now; default at speed 1.")
@click.option("--as-of", default="", metavar="DAY", help="Speak the protocol the venue has on that day, 2026-07-01.")
@click.option(
    "--accounts",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="So many accounts, with equal balances.",
)
@click.option("--scenario-json", help="The whole scenario as JSON; other options are ignored.")
@click.option("--json", "json_line", is_flag=True, help="Print one line of JSON with the addresses, for programs.")
@click.option("--detach", is_flag=True, help="Go on when standard input closes.")
def sim(
    venue: str,
    port: int,
    market: str | None,
    files: tuple[str, ...],
    rates: tuple[str, ...],
    speed: float | None,
    lockstep: bool,
    seed: int,
    warmup: int | None,
    span: int | None,
    rebase: bool | None,
    as_of: str,
    accounts: int,
    scenario_json: str | None,
    json_line: bool,
    detach: bool,
) -> None:
    """Serve VENUE's own protocol on 127.0.0.1, for any program in any language."""
    from btx.defaults import open_venue
    from btx.model.venue import Scenario
    from btx.sim.server import run_server
    from btx.sim.texts import scenario_from_json
    from btx.tools.files import files_by_symbol, kline_files
    from btx.worlds import in_market

    adapter = open_venue(venue)
    if scenario_json is not None:
        scenario = scenario_from_json(scenario_json)
    else:
        if lockstep and speed is not None:
            raise click.UsageError("a market in lockstep has no speed: leave out --speed, or --lockstep")
        pace = None if lockstep else speed or 1.0
        if warmup is None:
            warmup = 0 if files else _SYNTHETIC_WARMUP_NS  # a file may be as short as that
        market = market or adapter.info.markets[0]
        if market not in adapter.info.markets:
            raise click.UsageError(f"{adapter.info.title} has no market {market!r}: {', '.join(adapter.info.markets)}")
        scenario = Scenario(
            seed=seed,
            data=kline_files(files),
            funding=files_by_symbol(rates, option="--funding", of_what="funding rates"),
            speed=pace,
            until_ns=span,
            warmup_ns=warmup,
            rebase=pace == 1.0 if rebase is None else rebase,
            port=port,
            as_of=as_of,
            account_count=accounts,
        )
        scenario = in_market(scenario, market, is_margined=adapter.info.capabilities[market].margined)
    sys.exit(run_server(adapter.simulator, scenario, json_line=json_line, detach=detach))


@cli.group()
def history() -> None:
    """Bars that are kept on disk: fetch them once, backtest on them often."""


@history.command()
@click.argument("venue")
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.option("-i", "--interval", "intervals", multiple=True, default=("1m",), show_default=True, help="Repeatable.")
@click.option("--from", "start", required=True, metavar="DATE", help="2025-01-01, or 2025-01-01T12:30; UTC.")
@click.option("--to", "end", metavar="DATE", help="The end, left out itself.  [default: now]")
@_MARKET
@click.option(
    "--env",
    type=click.Choice(["live", "testnet", "sim"]),
    default="live",
    show_default=True,
    help="Whose prices; no keys are needed for any.",
)
@click.option("--attach", metavar="ws://...", help="Of --env sim: the control address of the simulator.")
@click.option(
    "--on",
    "policies",
    multiple=True,
    metavar="FINDING=POLICY",
    help="What to do about what is found, like hole=fill or spike=raise; repeatable.",
)
def download(
    venue: str,
    symbols: tuple[str, ...],
    intervals: tuple[str, ...],
    start: str,
    end: str | None,
    market: str | None,
    env: str,
    attach: str | None,
    policies: tuple[str, ...],
) -> None:
    """Fetch what is missing of SYMBOL... at VENUE; Ctrl-C keeps what came, a second run asks for nothing."""
    from btx.tools.history import Wanted, policies_of, run_download, time_of

    wanted = Wanted(
        symbols=symbols,
        intervals=intervals,
        start_ns=time_of(start, "--from"),
        end_ns=time_of(end, "--to") if end is not None else None,
    )
    sys.exit(run_download(venue, wanted, env=env, market=market, attach=attach, policies=policies_of(policies)))


@history.command("ls")
@click.argument("venue", required=False)
def list_history(venue: str | None) -> None:
    """List what is kept, of VENUE or of all."""
    from btx.tools.history import run_ls

    sys.exit(run_ls(venue))


@history.command()
@click.argument("venue", required=False)
def verify(venue: str | None) -> None:
    """Read all that is kept, and tell what is wrong with it: exit code 1 when a file is damaged."""
    from btx.tools.history import run_verify

    sys.exit(run_verify(venue))


@history.command("rm")
@click.argument("venue")
@click.argument("symbols", metavar="SYMBOL...", nargs=-1, required=True)
@click.option("-i", "--interval", "intervals", multiple=True, help="Repeatable.  [default: all]")
@click.option("--from", "start", metavar="DATE", help="Only from here on.")
@click.option("--to", "end", metavar="DATE", help="Only up to here, left out itself.")
@_MARKET
@click.option("--world", default="live", show_default=True, help="live, testnet, or sim-...: as `btx history ls` says.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_history(
    venue: str,
    symbols: tuple[str, ...],
    intervals: tuple[str, ...],
    start: str | None,
    end: str | None,
    market: str | None,
    world: str,
    *,
    yes: bool,
) -> None:
    """Remove bars of SYMBOL... at VENUE from the disk."""
    from btx.tools.history import run_rm, time_of

    sys.exit(
        run_rm(
            venue,
            symbols,
            intervals,
            start_ns=time_of(start, "--from") if start is not None else None,
            end_ns=time_of(end, "--to") if end is not None else None,
            market=market,
            world=world,
            agreed=(lambda _question: True) if yes else click.confirm,
        )
    )


def main() -> None:
    """Run the command line; what btx raises on purpose is one sentence, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _load_extension_commands()
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort as error:
        if isinstance(error.__context__, EOFError):  # a question, and nobody there to answer it
            click.echo("\nbtx: nobody answers here: look at what is asked, and say --yes", err=True)
            sys.exit(2)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BtxError as error:
        click.echo(f"btx: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _load_extension_commands() -> None:
    from btx.plugins import new_manager, register_extensions

    manager = new_manager()
    try:
        register_extensions(manager)
    except BtxError as error:
        click.echo(f"btx: {error}", err=True)
        return
    manager.hook.btx_commands(cli=cli)
