/** The curves of a run, zoomed together: a finer look is asked of the server, so that a million steps stay fluent. */
import { useSignal } from '@preact/signals'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { type About, type Column, series } from './api'
import { Chart, clamped, type Level, type Line, type Mark, type Range } from './chart'
import { finite, number, whole } from './format'
import { kept } from './kept'
import { useLoaded } from './loaded'
import { Empty, Trouble } from './parts'
import { PART } from './theme'
import { Timeline } from './timeline'

const ROOM = 900 // points of a curve: as many as a panel has pixels
export const smooth = kept<number>('smooth', 0.02)
export const logY = kept<boolean>('log.y', false)
export const logX = kept<boolean>('log.x', false)
export const epochs = kept<boolean>('epochs', false)

export interface Panel {
  title: string
  names: string[]
}

/** Loss and metrics, those of all parts together; then what the optimizer and the machine did. */
export function panels(columns: string[], monitor: string): Panel[] {
  const of = new Map<string, string[]>()
  const others: Panel[] = []
  for (const name of columns) {
    const [part, ...rest] = name.split('/')
    const metric = rest.join('/')
    if (metric) of.set(metric, [...(of.get(metric) ?? []), `${part}/${metric}`])
    else others.push({ title: name, names: [name] })
  }
  const rank = (m: string) => (m === 'loss' ? 0 : m === monitor ? 1 : 2)
  const metrics = [...of].map(([title, names]) => ({ title, names })).sort((a, b) => rank(a.title) - rank(b.title))
  const times = others.filter((p) => p.title.startsWith('seconds'))
  const rest = others.filter((p) => !times.includes(p))
  return [...metrics, ...rest, ...(times.length ? [{ title: 'seconds per step', names: times.map((t) => t.title) }] : [])]
}

export function Curves({ run, turn }: { run: About; turn: number }) {
  const range = useSignal<Range | null>(null)
  const asked = useDebounced(range.value, 60)
  const names = Object.keys(run.columns)
  const all: Range = { from: 1, to: Math.max(run.step, 2) }
  const question = JSON.stringify([run.key, names, asked, smooth.value, logX.value])
  const { value, error } = useLoaded(
    async (stop) => {
      const part = { room: ROOM, log: logX.value, ...(asked ? padded(asked) : {}) }
      const long = names.filter((n) => n.startsWith('train/') || n === 'gradient norm')
      const [plain, smoothed] = await Promise.all([
        series(run.key, names, part, stop),
        smooth.value ? series(run.key, long, { ...part, smooth: smooth.value }, stop) : [],
      ])
      return new Map([...plain.map((c) => [c.name, c] as const), ...smoothed.map((c) => [`~${c.name}`, c] as const)])
    },
    question,
    turn,
  )
  const drawn = useMemo(() => panels(names, run.monitor), [names.join(), run.monitor])
  const marks = useMemo(() => marksOf(run), [run])
  if (error && !value) return <Trouble error={error} />
  if (!names.length) return <Empty title="No step is logged yet" />
  return (
    <>
      <Tools range={range.value} all={all} onRange={(r) => (range.value = r)} perEpoch={run.steps_per_epoch} />
      <Timeline run={run} />
      <div class="panels">
        {drawn.map((panel) => (
          <RunPanel
            key={panel.title}
            panel={panel}
            run={run}
            found={value}
            marks={marks}
            range={range.value}
            all={all}
            onRange={(r) => (range.value = r)}
          />
        ))}
      </div>
      <Evaluations run={run} />
    </>
  )
}

interface PanelProps {
  panel: Panel
  run: About
  found: Map<string, Column> | undefined
  marks: Mark[]
  range: Range | null
  all: Range
  onRange: (range: Range | null) => void
}

function RunPanel({ panel, run, found, marks, range, all, onRange }: PanelProps) {
  const lines = useMemo(() => panel.names.flatMap((n) => linesOf(n, found)), [found, panel.names.join()])
  const levels = useMemo(() => levelsOf(run, panel.title), [run, panel.title])
  const bad = lines.reduce((sum, l) => sum + (l.bad?.reduce((a, b) => a + b, 0) ?? 0), 0)
  const scores = run.ended ? Object.entries(run.ended.scores).filter(([n]) => n === `test/${panel.title}`) : []
  const score = scores.map(([, v]) => `test ${number(v)}, of the checkpoint of step ${whole(run.best_step ?? run.step)}`)
  const note = [...score, ...(bad ? [`✕ ${whole(bad)} values were NaN or infinite`] : [])].join(' · ')
  const positive = lines.some((l) => l.mean.some((v) => v > 0))
  return (
    <Chart
      title={panel.title === run.monitor ? `${panel.title} (decides)` : panel.title}
      lines={lines}
      levels={levels}
      marks={panel.title === run.monitor || panel.title === 'loss' ? marks : marks.filter((m) => m.kind !== 'best')}
      range={range}
      whole={all}
      logX={logX.value}
      logY={logY.value && positive}
      perEpoch={epochs.value ? run.steps_per_epoch : 0}
      onRange={onRange}
      note={note || undefined}
    />
  )
}

function linesOf(name: string, found: Map<string, Column> | undefined): Line[] {
  const column = found?.get(name)
  if (!column) return []
  const part = name.split('/')[0]!
  const label = name.includes('/') ? ({ train: 'training', valid: 'validation' }[part] ?? part) : name
  const colour = PART[part] ?? (name === 'seconds waited' ? 1 : name === 'learning rate' ? 2 : name === 'gradient norm' ? 5 : 4)
  const line = { label, paint: colour, x: column.step, mean: column.mean, bad: column.bad, dots: column.step.length < 60 && part !== 'train' }
  const band = { low: column.low, high: column.high }
  const smoothed = found?.get(`~${name}`)
  if (!smoothed) return [{ ...line, ...band }]
  return [
    { ...line, ...band, label: `${label} raw`, faint: true },
    { label, paint: colour, x: smoothed.step, mean: smoothed.mean },
  ]
}

function levelsOf(run: About, metric: string): Level[] {
  return Object.entries(run.ended?.baselines ?? {})
    .filter(([, of]) => isFinite(finite(of[metric])))
    .map(([name, of]) => ({ label: name, value: finite(of[metric]) }))
}

function marksOf(run: About): Mark[] {
  return [
    ...run.attempts.filter((a) => a.from_step > 0).map((a) => ({ x: a.from_step, label: a.note, kind: 'attempt' as const })),
    ...(run.best_step === null ? [] : [{ x: run.best_step, label: 'best', kind: 'best' as const }]),
    ...run.found.filter((f) => f.step > 0).map((f) => ({ x: f.step, label: f.what, kind: 'finding' as const })),
    ...run.skipped.map((s) => ({ x: s.step, label: s.what, kind: 'skipped' as const })),
  ]
}

/** What lies a little beyond the ends, so that a move shows curves at once. */
const padded = ({ from, to }: Range) => ({ from: from - (to - from) * 0.1, to: to + (to - from) * 0.1 })

export function useDebounced<T>(value: T, ms: number): T {
  const [late, set] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => set(value), ms)
    return () => clearTimeout(timer)
  }, [value])
  return late
}

interface ToolsProps {
  range: Range | null
  all: Range
  onRange: (range: Range | null) => void
  perEpoch: number
}

export function Tools({ range, all, onRange, perEpoch }: ToolsProps) {
  const { from, to } = range ?? all
  const zoom = (by: number) => {
    const [middle, half] = [(from + to) / 2, ((to - from) / 2) * by]
    onRange(clamped({ from: middle - half, to: middle + half }, all))
  }
  return (
    <div class="tools" role="group" aria-label="how the curves are drawn">
      <label>
        smoothing{' '}
        <input
          type="range"
          min="0"
          max="0.2"
          step="0.005"
          value={smooth.value}
          onInput={(e) => (smooth.value = Number(e.currentTarget.value))}
        />
        <output>{smooth.value ? `${Math.round(smooth.value * 1000) / 10} %` : 'off'}</output>
      </label>
      <span class="buttons">
        <button aria-pressed={logY.value} onClick={() => (logY.value = !logY.value)}>
          log y
        </button>
        <button aria-pressed={logX.value} onClick={() => (logX.value = !logX.value)}>
          log x
        </button>
        {perEpoch > 0 && (
          <button aria-pressed={epochs.value} onClick={() => (epochs.value = !epochs.value)}>
            epochs
          </button>
        )}
      </span>
      <span class="buttons">
        <button onClick={() => zoom(0.5)} aria-label="zoom in">
          +
        </button>
        <button onClick={() => zoom(2)} aria-label="zoom out" disabled={!range}>
          −
        </button>
        <button onClick={() => onRange(null)} disabled={!range}>
          all
        </button>
      </span>
      <span class="mute" role="status">
        {range
          ? `steps ${whole(from)} to ${whole(to)}`
          : `${whole(all.to)} steps · drag to zoom, Ctrl + wheel, double click for all`}
      </span>
    </div>
  )
}

/** The same as numbers. */
function Evaluations({ run }: { run: About }) {
  if (!run.evals.length) return null
  const metrics = [...new Set(run.evals.flatMap((e) => Object.keys(e.metrics)))].slice(0, 12)
  return (
    <details class="card">
      <summary>Evaluations as a table ({run.evals.length})</summary>
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">step</th>
              <th scope="col">part</th>
              {metrics.map((m) => (
                <th scope="col" key={m}>
                  {m}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {run.evals.toReversed().map((e) => (
              <tr key={`${e.step}${e.part}`} class={e.best && e.step === run.best_step ? 'best' : ''}>
                <td>{whole(e.step)}</td>
                <td>
                  {e.part}
                  {e.best && e.step === run.best_step ? ' ★' : ''}
                </td>
                {metrics.map((m) => (
                  <td key={m}>{number(e.metrics[m])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  )
}
