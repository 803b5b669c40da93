-- Twelve questions to the results, for DuckDB. Run it where the folder `results` is:
--   duckdb -box < questions.sql
-- SCHEMA.md tells what each column means.

-- `round_even` rounds halves as Polars and pandas do, so that the three files give the same answers to the last digit.

-- Times are UTC; let them be shown and cut into hours and days as such.
SET TimeZone = 'UTC';

-- By name, so that files of older versions, which lack the newest columns, are read together with new ones.
-- A retried probe has a row for each attempt: `is_final` marks the one that counts.
CREATE VIEW probes AS
FROM read_parquet('results/probes/**/*.parquet', union_by_name = true, hive_partitioning = true)
WHERE is_final;

-- What the checks said of those attempts. The key of an attempt is (run_id, seq).
CREATE VIEW checks AS
FROM read_parquet('results/checks/**/*.parquet', union_by_name = true, hive_partitioning = true)
SEMI JOIN probes USING (run_id, seq);

-- "Now" is the last thing that was seen, so that old results can be asked as well. A variable is a constant to the
-- planner: `date = getvariable('today')` opens the files below `date=…` of that day and no others.
SET VARIABLE now = (SELECT max(started_at) FROM probes);
SET VARIABLE today = getvariable('now')::DATE;
SET VARIABLE yesterday = getvariable('today') - 1;

-- 1. uptime: which targets were up least?
-- Degraded is up. Unknown says nothing about the target, so it counts neither way; nor does maintenance.
SELECT pipeline, target, count(*) AS probes,
       round_even(100.0 * count(*) FILTER (outcome IN ('up', 'degraded'))
                   / count(*) FILTER (outcome IN ('up', 'degraded', 'down')), 2) AS up_percent,
       count(*) FILTER (outcome = 'unknown') AS unknown
FROM probes
WHERE NOT in_maintenance
GROUP BY ALL
ORDER BY up_percent, target LIMIT 20;

-- 2. percentiles: how fast were responses, hour by hour?
SELECT date_trunc('hour', started_at) AS hour, count(*) AS probes,
       round_even(quantile_cont(total_us, 0.50) / 1000, 1) AS p50_ms,
       round_even(quantile_cont(total_us, 0.95) / 1000, 1) AS p95_ms,
       round_even(quantile_cont(total_us, 0.99) / 1000, 1) AS p99_ms
FROM probes
WHERE outcome IN ('up', 'degraded')
GROUP BY hour
ORDER BY hour;

-- 3. slow phase: where does the time go, region by region?
-- `labels` is a map: ['region'] is null where a target has no such label.
WITH phases AS (
    SELECT labels['region'] AS region, count(*) AS probes,
           round_even(avg(dns_us) / 1000, 1) AS dns_ms, round_even(avg(connect_us) / 1000, 1) AS connect_ms,
           round_even(avg(tls_us) / 1000, 1) AS tls_ms, round_even(avg(first_byte_us) / 1000, 1) AS first_byte_ms,
           round_even(avg(transfer_us) / 1000, 1) AS transfer_ms
    FROM probes
    WHERE outcome IN ('up', 'degraded')
    GROUP BY region
)
SELECT *, CASE greatest(dns_ms, connect_ms, tls_ms, first_byte_ms, transfer_ms)
              WHEN dns_ms THEN 'dns' WHEN connect_ms THEN 'connect' WHEN tls_ms THEN 'tls'
              WHEN first_byte_ms THEN 'first_byte' ELSE 'transfer' END AS slowest
FROM phases
ORDER BY region;

-- 4. certificates: which end within 30 days, and how many targets show them?
SELECT cert_subject, cert_issuer, least(cert_not_after, cert_chain_not_after) AS ends,
       round_even(epoch(ends - getvariable('now')) / 86400, 1) AS days_left,
       count(DISTINCT target) AS targets
FROM probes
WHERE ends < getvariable('now') + INTERVAL 30 DAYS
GROUP BY ALL
ORDER BY ends, cert_subject;

-- 5. failures: of what kind, how many, since when?
-- Where there was a whole response, a check has decided.
SELECT coalesce(error_kind, 'check ' || failed_check) AS failure, outcome, count(*) AS probes,
       count(DISTINCT target) AS targets, min(started_at) AS first, max(started_at) AS last
FROM probes
WHERE outcome IN ('down', 'unknown')
GROUP BY ALL
ORDER BY probes DESC, failure;

-- 6. flapping: which targets went down again and again?
-- A gap counts once: from up to down.
WITH turns AS (
    SELECT target, outcome = 'down' AS down,
           lag(outcome = 'down') OVER (PARTITION BY pipeline, target ORDER BY started_at) AS was_down
    FROM probes
    WHERE outcome <> 'unknown'
)
SELECT target, count(*) FILTER (down AND NOT was_down) AS times_down,
       round_even(100.0 * avg(down::INT), 1) AS down_percent
FROM turns
GROUP BY target HAVING times_down >= 5
ORDER BY times_down DESC, target LIMIT 20;

-- 7. outages: who was down for three probes in a row or more, from when to when?
-- Probes of one stretch share the number of probes that were not down before them.
WITH stretches AS (
    SELECT pipeline, target, started_at, outcome, error_kind,
           count(*) FILTER (outcome <> 'down') OVER (PARTITION BY pipeline, target ORDER BY started_at) AS stretch
    FROM probes
)
SELECT target, min(started_at) AS began, max(started_at) AS last_seen_down, count(*) AS probes,
       round_even(epoch(last_seen_down - began) / 60, 1) AS minutes,
       coalesce(min(error_kind), 'a check failed') AS failure
FROM stretches
WHERE outcome = 'down'
GROUP BY pipeline, target, stretch HAVING probes >= 3
ORDER BY minutes DESC, target, began LIMIT 20;

-- 8. checks: which fail, how often, and what do they say?
SELECT check_name, plugin, count(*) AS verdicts,
       count(*) FILTER (status = 'fail') AS failed, count(*) FILTER (status = 'warn') AS warned,
       count(*) FILTER (status = 'error') AS could_not_judge,
       count(DISTINCT target) FILTER (status = 'fail') AS targets_failed,
       left(min(message) FILTER (status = 'fail'), 60) AS for_example
FROM checks
GROUP BY ALL
ORDER BY failed DESC, check_name;

-- 9. two days: is today worse than yesterday?
WITH days AS (
    SELECT pipeline, date = getvariable('today') AS is_today,
           100.0 * count(*) FILTER (outcome IN ('up', 'degraded'))
                 / count(*) FILTER (outcome IN ('up', 'degraded', 'down')) AS up_percent,
           quantile_cont(total_us, 0.95) FILTER (outcome IN ('up', 'degraded')) / 1000 AS p95_ms
    FROM probes
    WHERE date IN (getvariable('yesterday'), getvariable('today'))
    GROUP BY ALL
)
SELECT pipeline,
       round_even(max(up_percent) FILTER (NOT is_today), 3) AS up_yesterday, round_even(max(up_percent) FILTER (is_today), 3) AS up_today,
       round_even(max(p95_ms) FILTER (NOT is_today), 1) AS p95_yesterday, round_even(max(p95_ms) FILTER (is_today), 1) AS p95_today
FROM days
GROUP BY pipeline
ORDER BY pipeline;

-- 10. metric: how old was the feed, hour by hour, as the check `fresh` measured it?
-- `metrics` is a map of numbers: a check tells what it likes, with the unit in the name.
SELECT date_trunc('hour', started_at) AS hour, count(*) AS samples,
       round_even(avg(metrics['age_seconds']), 1) AS average_seconds, max(metrics['age_seconds']) AS oldest_seconds
FROM checks
WHERE check_name = 'fresh' AND metrics['age_seconds'] IS NOT NULL
GROUP BY hour
ORDER BY hour;

-- 11. lateness: did the runner keep up?
-- `lateness_us` is from due to begun; `missed` counts the turns that were left out, since the one before was not done.
SELECT date_trunc('hour', started_at) AS hour, count(*) AS probes,
       round_even(quantile_cont(lateness_us, 0.99) / 1000, 1) AS p99_late_ms,
       max(lateness_us) / 1000 AS worst_late_ms, sum(missed)::BIGINT AS missed
FROM probes
GROUP BY hour
ORDER BY hour;

-- 12. cost: which checks take the runner's time?
SELECT check_name, plugin, count(*) AS calls,
       round_even(quantile_cont(duration_us, 0.50), 0) AS p50_us, round_even(quantile_cont(duration_us, 0.99), 0) AS p99_us,
       round_even(sum(duration_us) / 1e6, 1) AS seconds,
       round_even(100.0 * sum(duration_us) / sum(sum(duration_us)) OVER (), 1) AS percent
FROM checks
GROUP BY ALL
ORDER BY seconds DESC, check_name;
