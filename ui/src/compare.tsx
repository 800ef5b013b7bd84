/** Several runs over one another: their curves, their scores, and what differs in their recipes. */
import { useSignal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import { about, type About, type Column, recipe, series } from './api'
import { Chart, type Line, type Range } from './chart'
import { logX, logY, panels, smooth, Tools, useDebounced } from './curves'
import { number, value } from './format'
import { turns } from './live'
import { useLoaded } from './loaded'
import { StateBadge, Trouble } from './parts'
import { toRun } from './place'
import { paint } from './theme'

const MOST = 8

export function Compare({ ids }: { ids: string[] }) {
  const keys = ids.slice(0, MOST)
  const range = useSignal<Range | null>(null)
  const asked = useDebounced(range.value, 60)
  const { value: all, error } = useLoaded((s) => Promise.all(keys.map((k) => about(k, s))), keys.join(), turns.value)
  const question = JSON.stringify([keys, asked, smooth.value, logX.value, all?.map((r) => Object.keys(r.columns).length)])
  const { value: found } = useLoaded(
    async (s) =>
      Promise.all(
        (all ?? []).map((r) => {
          const part = { room: 600, log: logX.value, smooth: 0, ...(asked ?? {}) }
          const [steps, evals] = split(Object.keys(r.columns))
          return Promise.all([
            series(r.key, steps, { ...part, smooth: smooth.value }, s),
            series(r.key, evals, part, s),
          ]).then((both) => new Map(both.flat().map((c) => [c.name, c])))
        }),
      ),
    question,
    turns.value,
  )
  useEffect(() => {
    document.title = 'Compare · Trainwright studio'
  }, [])
  if (!all) return error ? <Trouble error={error} /> : <p class="opening">reading the runs …</p>
  const whole = { from: 1, to: Math.max(2, ...all.map((r) => r.step)) }
  return (
    <>
      <div class="bar">
        <h1>Compare</h1>
        <ul class="chips" aria-label="runs">
          {all.map((r, i) => (
            <li key={r.key} class="chip">
              <i class="swatch" style={{ background: paint(i) }} />
              <a href={toRun(r.key)}>{r.name}</a>
            </li>
          ))}
        </ul>
      </div>
      <Tools range={range.value} all={whole} onRange={(r) => (range.value = r)} perEpoch={0} />
      <Panels runs={all} found={found} range={range.value} whole={whole} onRange={(r) => (range.value = r)} />
      <Scores runs={all} />
      <Differences runs={all} />
    </>
  )
}

const long = (name: string) => name.startsWith('train/') || name === 'gradient norm'
const split = (names: string[]): [string[], string[]] => [names.filter(long), names.filter((n) => !long(n))]

interface PanelsProps {
  runs: About[]
  found: Map<string, Column>[] | undefined
  range: Range | null
  whole: Range
  onRange: (range: Range | null) => void
}

/** A panel for each number: a line for each run. */
function Panels({ runs, found, range, whole, onRange }: PanelsProps) {
  const names = useMemo(() => {
    const all = [...new Set(runs.flatMap((r) => Object.keys(r.columns)))]
    const monitor = runs[0]?.monitor ?? ''
    return panels(all, monitor).flatMap((p) => p.names)
  }, [runs])
  return (
    <div class="panels">
      {names.map((name) => (
        <OnePanel key={name} name={name} runs={runs} found={found} range={range} whole={whole} onRange={onRange} />
      ))}
    </div>
  )
}

function OnePanel({ name, runs, found, range, whole, onRange }: PanelsProps & { name: string }) {
  const lines = useMemo<Line[]>(
    () =>
      runs.flatMap((r, i) => {
        const column = found?.[i]?.get(name)
        return column ? [{ label: r.name, paint: i, x: column.step, mean: column.mean, bad: column.bad, dots: column.step.length < 3 }] : []
      }),
    [found, name, runs.map((r) => r.name).join()],
  )
  return (
    <Chart
      title={name.replace('train/', 'training ').replace('valid/', 'validation ')}
      lines={lines}
      range={range}
      whole={whole}
      logX={logX.value}
      logY={logY.value && lines.some((l) => l.mean.some((v) => v > 0))}
      perEpoch={0}
      onRange={onRange}
    />
  )
}

function Scores({ runs }: { runs: About[] }) {
  const names = [...new Set(runs.flatMap((r) => Object.keys(scores(r))))].slice(0, 24)
  if (!names.length) return null
  return (
    <section class="card" aria-label="scores">
      <h2>Scores</h2>
      <div class="scroll" tabIndex={0}>
        <table class="scores">
          <thead>
            <tr>
              <th scope="col">run</th>
              <th scope="col">state</th>
              {names.map((n) => (
                <th scope="col" key={n}>
                  {n}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {runs.map((r, i) => (
              <tr key={r.key}>
                <th scope="row">
                  <i class="swatch" style={{ background: paint(i) }} /> {r.name}
                </th>
                <td>
                  <StateBadge state={r.state} />
                </td>
                {names.map((n) => (
                  <td key={n}>{number(scores(r)[n])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** The final ones; of a run without them, those of its best evaluation. */
function scores(run: About) {
  if (run.ended && Object.keys(run.ended.scores).length) return run.ended.scores
  const best = run.evals.findLast((e) => e.step === run.best_step) ?? run.evals.at(-1)
  return Object.fromEntries(Object.entries(best?.metrics ?? {}).map(([m, v]) => [`${best!.part}/${m}`, v]))
}

function Differences({ runs }: { runs: About[] }) {
  const { value: all } = useLoaded((s) => Promise.all(runs.map((r) => recipe(r.key, s))), runs.map((r) => r.key).join(), 0)
  if (!all) return null
  const keys = [...new Set(all.flatMap((r) => Object.keys(r)))].filter((k) => new Set(all.map((r) => value(r[k]))).size > 1)
  return (
    <section class="card" aria-label="what differs">
      <h2>What differs in the recipes</h2>
      {keys.length === 0 ? (
        <p>Nothing: the recipes are the same.</p>
      ) : (
        <div class="scroll" tabIndex={0}>
          <table class="recipe">
            <thead>
              <tr>
                <th scope="col">key</th>
                {runs.map((r, i) => (
                  <th scope="col" key={r.key}>
                    <i class="swatch" style={{ background: paint(i) }} /> {r.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {keys.map((k) => (
                <tr key={k}>
                  <th scope="row">{k}</th>
                  {all.map((r, i) => (
                    <td key={i}>{k in r ? value(r[k]) : '–'}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}
