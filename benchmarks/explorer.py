"""Time the explorer's page in Chromium: python benchmarks/explorer.py [--quick] [--profile]

Reported are medians and worst cases of the start of the page, of each slider and of each step of the
window, for an input of 32 x 32 and kernels of 3 x 3. The time *until drawn* begins at the input event and
ends with the first frame after the page is laid out, so it includes the wait for that frame (up to 17 ms).
The *work* is what the page computes for the event: script, style and layout. *CPU* is the time for which
the thread of the page runs per event. It depends least on what else the machine does. `--profile` prints
the functions that take the time where a limit is missed; it needs the npm packages of `web/`.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from measure import describe_machine
from weightshare.explorer import page as explorer_page
from weightshare.explorer import render_page

#: Limits in milliseconds and bytes.
LIMITS = {"start": 300, "slider": 50, "step": 16, "bytes": 400_000, "bytes without data": 250_000}
LAYER = {"inputSize": [32, 32], "kernelSize": [3, 3], "padding": [[1, 1], [1, 1]]}
OUT = Path(__file__).parent / "results" / "explorer.json"
WEB = Path(__file__).parents[1] / "web"

#: Run before the page's script: keep the time at which the first chapter is in a frame.
WATCH_START = """
new MutationObserver((_, observer) => {
  if (!document.querySelector(".ws-explorer .chapter > *")) return;
  observer.disconnect();
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => (window.startedAt = performance.now());
    channel.port2.postMessage(0);
  });
}).observe(document, { childList: true, subtree: true });
"""
#: Functions of the page: `timeEvent` returns [work, until drawn] of an event in milliseconds.
TOOLS = """
window.timeEvent = (act) => new Promise((done) => {
  const start = performance.now();
  act();
  document.body.getBoundingClientRect();
  const work = performance.now() - start;
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done([work, performance.now() - start]);
    channel.port2.postMessage(0);
  });
});
window.findSliders = () => [...document.querySelectorAll(".chapter input[type=range]")]
  .filter((one) => one.checkVisibility() && one.labels.length);
window.timeSlider = async (index, rounds) => {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const slider = window.findSliders()[index];
    if (!slider) break;
    const [min, max, value] = [slider.min, slider.max, slider.value].map(Number);
    const size = Number(slider.step) || 1;
    const next = value + size > max ? value - size : i % 2 ? value - size : value + size;
    slider.value = Math.max(min, Math.min(max, next));
    times.push(await window.timeEvent(() => slider.dispatchEvent(new Event("input", { bubbles: true }))));
  }
  return times;
};
window.timeButton = async (text, rounds) => {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const button = [...document.querySelectorAll(".chapter button")].find((one) => one.textContent === text);
    times.push(await window.timeEvent(() => button.click()));
  }
  return times;
};
"""
SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


def summarize(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 1),
        "worst": round(max(values), 1),
        "rounds": len(values),
    }


def measure_sizes() -> dict[str, dict[str, int]]:
    """Return the bytes of the page, with and without its data."""
    pages = {"page": render_page().encode(), "page without data": render_page(data=False).encode()}
    return {
        name: {"bytes": len(page), "gzip": len(gzip.compress(page, mtime=0))} for name, page in pages.items()
    }


def measure_start(browser: Browser, address: str, rounds: int) -> dict[str, float]:
    """Return the time from the start of the navigation until the first chapter is drawn, in new contexts."""
    times = []
    for _ in range(rounds + 1):
        context = browser.new_context()
        context.add_init_script(WATCH_START)
        page = context.new_page()
        page.goto(address)
        page.wait_for_function("window.startedAt !== undefined")
        times.append(page.evaluate("window.startedAt"))
        context.close()
    return summarize(times[1:])


def open_chapter(browser: Browser, address: str, chapter: str) -> Page:
    """Return a tab that shows a chapter with the layer of the benchmark."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{address}#c={chapter}")
    page.evaluate(TOOLS)
    state = json.dumps({"chapter": chapter, "question": None, "layer": LAYER}).encode().hex()
    page.evaluate(
        """(hex) => {
          const text = String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16)));
          location.hash = `s=${btoa(text)}`;
        }""",
        state,
    )
    page.evaluate(SETTLE)
    page.evaluate(SETTLE)
    return page


def measure_cpu(page: Page, call: str, argument: list[Any]) -> tuple[list[list[float]], float]:
    """Return the times of a call, and the milliseconds of the page's thread per round."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def read() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    before = read()
    times = page.evaluate(call, argument)
    return times, 1000 * (read() - before) / max(1, len(times))


def make_row(chapter: str, what: str, kind: str, times: list[list[float]], cpu: float) -> dict[str, Any]:
    """Return a row of results; the first time is a warm-up."""
    work, drawn = zip(*times[1:])
    row: dict[str, Any] = {"chapter": chapter, "what": what, "kind": kind, "cpu": round(cpu, 1)}
    row |= {"work": summarize(list(work)), "until drawn": summarize(list(drawn))}
    measured = row["work" if kind == "step" else "until drawn"]["median"]
    return {**row, "limit": LIMITS[kind], "missed": measured > LIMITS[kind]}


def measure_chapter(
    browser: Browser, address: str, chapter: str, rounds: int, profile: bool
) -> list[dict[str, Any]]:
    """Return a row for each slider of a chapter, and one for its Step button."""
    rows = []
    count = len((page := open_chapter(browser, address, chapter)).evaluate("findSliders().map(String)"))
    page.context.close()
    actions = [("slider", index) for index in range(count)] + [("step", 0)]
    for kind, index in actions:
        page = open_chapter(browser, address, chapter)
        if kind == "slider":
            name = page.evaluate("(index) => findSliders()[index].labels[0].textContent", index)
            call, argument = "([index, rounds]) => timeSlider(index, rounds)", [index, rounds + 1]
        else:
            name = "Step"
            if page.get_by_role("button", name=name, exact=True).count() == 0:
                page.context.close()
                continue
            call, argument = "([text, rounds]) => timeButton(text, rounds)", [name, rounds + 1]
        times, cpu = measure_cpu(page, call, argument)
        if len(times) > 2:
            rows.append(make_row(chapter, name, kind, times, cpu))
            if profile and rows[-1]["missed"]:
                rows[-1]["profile"] = profile_call(page, call, argument)
        page.context.close()
    return rows


def profile_call(page: Page, call: str, argument: list[Any]) -> list[str]:
    """Return the functions in which a call spends most of its time, with milliseconds per round."""
    session = page.context.new_cdp_session(page)
    session.send("Profiler.enable")
    session.send("Profiler.setSamplingInterval", {"interval": 200})
    session.send("Profiler.start")
    page.evaluate(call, argument)
    profile = session.send("Profiler.stop")["profile"]
    names = {
        node[
            "id"
        ]: f"{node['callFrame']['functionName'] or '(anonymous)'}:{node['callFrame']['lineNumber'] + 1}"
        for node in profile["nodes"]
    }
    total: dict[str, float] = {}
    for node, delta in zip(profile["samples"], profile["timeDeltas"]):
        total[names[node]] = total.get(names[node], 0) + delta / 1000 / argument[1]
    total = {name: time for name, time in total.items() if not name.startswith(("(idle)", "(root)"))}
    worst = sorted(total.items(), key=lambda item: -item[1])[:8]
    return [f"{time:6.1f} ms  {name}" for name, time in worst]


def use_readable_script(folder: Path) -> None:
    """Let `render_page` use a script with the names of the source."""
    command = ["node_modules/.bin/esbuild", "src/index.js", "--bundle", "--format=esm", "--charset=utf8"]
    subprocess.run(
        [*command, f"--outfile={folder / 'explorer.js'}", "--log-level=error"], cwd=WEB, check=True
    )
    explorer_page._read_built = lambda name: (folder / name).read_text("utf-8")


def show(results: dict[str, Any]) -> str:
    """Return the results as text."""
    lines = []
    for name, size in results["sizes"].items():
        lines.append(f"{name}: {size['bytes']:,} bytes, {size['gzip']:,} with gzip")
    start = results["start"]
    lines.append(
        f"start: median {start['median']} ms, worst {start['worst']} ms (limit {LIMITS['start']} ms)"
    )
    lines.append("")
    lines.append(
        f"{'chapter':12} {'slider or step':26} {'work (ms)':>16} {'until drawn (ms)':>18}    CPU limit"
    )
    lines.append(f"{'':12} {'':26} {'median':>8}{'worst':>8} {'median':>10}{'worst':>8}")
    for row in results["rows"]:
        work, drawn = row["work"], row["until drawn"]
        lines.append(
            f"{row['chapter']:12} {row['what'][:26]:26} {work['median']:8.1f}{work['worst']:8.1f} "
            f"{drawn['median']:10.1f}{drawn['worst']:8.1f} {row['cpu']:6.1f} {row['limit']:5}"
            + ("  missed" if row["missed"] else "")
        )
        lines += [f"    {line}" for line in row.get("profile", [])]
    missed = results["missed"]
    lines += ["", f"load of the machine: {results['load']} on {os.cpu_count()} cores"]
    lines += ["", f"missed limits: {', '.join(missed) if missed else 'none'}"]
    return "\n".join(lines)


def find_missed(results: dict[str, Any]) -> list[str]:
    sizes = results["sizes"]
    found = ["bytes"] * (sizes["page"]["bytes"] > LIMITS["bytes"])
    found += ["bytes without data"] * (sizes["page without data"]["bytes"] > LIMITS["bytes without data"])
    found += ["start"] * (results["start"]["median"] > LIMITS["start"])
    return found + [f"{row['chapter']}: {row['what']}" for row in results["rows"] if row["missed"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="measure three rounds, and write no file")
    parser.add_argument(
        "--profile", action="store_true", help="profile what misses its limit, and write no file"
    )
    parser.add_argument("--chapter", help="measure only this chapter, and write no file")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the results")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 15
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        parser.error("Chromium is not installed")
    sizes = measure_sizes()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        if arguments.profile:
            use_readable_script(Path(folder))
        file.write_text(render_page(), encoding="utf-8")
        address = file.as_uri()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        links = "[...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href').slice(3))"
        chapters = [arguments.chapter] if arguments.chapter else page.evaluate(links)
        results = {
            "machine": describe_machine(),
            "load": round(os.getloadavg()[0], 1),
            "browser": browser.version,
            "limits": LIMITS,
            "sizes": sizes,
            "start": measure_start(browser, address, rounds),
            "rows": [],
        }
        for chapter in chapters:
            results["rows"] += measure_chapter(browser, address, chapter, rounds, arguments.profile)
        browser.close()
    results["missed"] = find_missed(results)
    print(show(results))
    if not (arguments.quick or arguments.chapter or arguments.profile):
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
