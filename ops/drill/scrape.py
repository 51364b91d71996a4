"""python3 ops/drill/scrape.py: how long a scrape of API and worker takes beside a million jobs.

Fills the queue of a system of its own: half of the jobs could run but for a paused lane, half are due in a day. Then both
processes are scraped 200 times, one after the other. Fails where one scrape in a hundred takes more than 20 ms, or where the
gauges about the queue are older than they should be.
"""
import os
import statistics
import sys
import time
import urllib.request

from system import drop_alone, until

JOBS, SCRAPES, LIMIT_MS, OLDEST_GAUGES_S = 1_000_000, 200, 20, 30


def fill(drop):
    drop.sql("UPDATE lanes SET paused = true WHERE name = 'payment.poll'")
    drop.sql(
        "INSERT INTO jobs (lane, kind, max_attempts, run_at)"
        " SELECT (SELECT lane FROM lanes WHERE name = 'payment.poll'), 'poll-payment', 3,"
        " now() + CASE WHEN n % 2 = 0 THEN interval '0' ELSE interval '1 day' END"
        f" FROM generate_series(1, {JOBS}) n"
    )
    drop.sql("ANALYZE jobs")


def scrape(url):
    """Milliseconds, and the page."""
    began = time.perf_counter()
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    return (time.perf_counter() - began) * 1000, page


def gauge(page, name):
    return next((float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " ")), None)


def shows_them_all(url):
    page = scrape(url)[1]
    shown = [line for line in page.splitlines() if line.startswith('drop_jobs{lane="payment.poll"')]
    return sum(float(line.split()[1]) for line in shown) >= JOBS


def measured(url):
    times, ages = [], []
    for _ in range(SCRAPES):
        milliseconds, page = scrape(url)
        times.append(milliseconds)
        ages.append(gauge(page, "drop_queue_gauges_age_seconds") or 0)
        time.sleep(0.1)  # over two readings of the gauges
    return sorted(times), max(ages), len(page)


def both(drop, beside):
    """Prints what was measured; whether that is as it should be."""
    print(f"{beside} (load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
    well = True
    for name, url in (("API", drop.api_internal), ("worker", drop.worker_internal)):
        times, age, size = measured(url)
        p99 = times[int(len(times) * 0.99) - 1]
        print(f"  {name:<7}median {statistics.median(times):5.1f} ms, p99 {p99:5.1f} ms, {size} bytes, gauges at most {age:.0f} s old")
        well = well and p99 < LIMIT_MS and age < OLDEST_GAUGES_S
    return well


def main():
    with drop_alone(__doc__, "drop-scrape-") as drop:
        both(drop, "with an empty queue")
        fill(drop)
        until("the gauges to show the jobs", lambda: shows_them_all(drop.worker_internal))
        well = both(drop, f"beside {JOBS} jobs")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
