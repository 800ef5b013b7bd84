/** Small pieces that several views show. */
import type { ComponentChildren } from 'preact'
import type { Number as Told, Row, Severity, State } from './api'
import { duration, finite, number, whole } from './format'

const SAID: Record<State, string> = {
  running: 'training',
  reading: 'being read',
  finished: 'finished',
  stopped: 'stopped',
  interrupted: 'interrupted',
  failed: 'failed',
}

export function StateBadge({ state }: { state: State }) {
  return (
    <span class={`state ${state}`}>
      <i aria-hidden="true" />
      {SAID[state] ?? state}
    </span>
  )
}

const SIGN: Record<Severity, string> = { error: '✕', warning: '!', note: 'i' }

export function SeveritySign({ severity }: { severity: Severity }) {
  return (
    <span class={`severity ${severity}`} title={severity}>
      <span aria-hidden="true">{SIGN[severity]}</span>
      <span class="unseen">{severity}</span>
    </span>
  )
}

/** How a score stands to a simple model: better or worse only where the 95 % interval of the difference says so. */
export function judged(name: string, value: Told, apart: [Told, Told, Told] | null | undefined, better: string) {
  const sign = better === 'higher' ? 1 : -1
  const title = `${name} baseline: ${number(value)}`
  if (!apart) return { kind: '', sign: '', text: `${name} ${number(value)}`, title }
  const [low, high] = [finite(apart[1]) * sign, finite(apart[2]) * sign].sort((a, b) => a - b) as [number, number]
  const gain = number(Math.abs(finite(apart[0])))
  const span = `${title}; 95 % interval of the difference: [${number(apart[1])}, ${number(apart[2])}]`
  if (low > 0) return { kind: 'good', sign: '▲', text: `beats ${name} by ${gain}`, title: span }
  if (high < 0) return { kind: 'poor', sign: '▼', text: `worse than ${name} by ${gain}`, title: span }
  return { kind: 'unsure', sign: '≈', text: `within noise of ${name}`, title: span }
}

export function Standing({ run }: { run: Row }) {
  if (run.score === null) return <span class="mute">–</span>
  const { baseline } = run
  const told = baseline && judged(baseline.name, baseline.value, baseline.apart, run.better)
  return (
    <span class="standing">
      <b>{number(run.score)}</b>
      <small class="mute">
        {run.part} {run.monitor}
      </small>
      {told && (
        <small class={told.kind} title={told.title}>
          {told.sign} {told.text}
        </small>
      )}
    </span>
  )
}

export function Spark({ values, label }: { values: Told[]; label: string }) {
  const known = values.map((v) => finite(v))
  const seen = known.filter(isFinite)
  if (seen.length < 2) return <svg class="spark" viewBox="0 0 96 24" aria-hidden="true" />
  const [low, high] = [Math.min(...seen), Math.max(...seen)]
  const points = known
    .map((v, i) => [2 + (i / (known.length - 1)) * 92, 22 - ((v - low) / (high - low || 1)) * 20, v] as const)
    .filter(([, , v]) => isFinite(v))
  return (
    <svg class="spark" viewBox="0 0 96 24" role="img" aria-label={label}>
      <polyline points={points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')} />
    </svg>
  )
}

export function Progress({ run }: { run: Row }) {
  if (run.reading) return <span class="mute">reading the log …</span>
  if (!run.steps) return <span class="mute">not begun</span>
  const left = run.step ? (run.seconds / run.step) * (run.steps - run.step) : NaN
  return (
    <span class="progress">
      <progress max={run.steps} value={run.step} aria-label="steps taken" />
      <small>
        {whole(run.step)} of {whole(run.steps)} steps{run.state === 'running' && isFinite(left) ? ` · ${duration(left)} left` : ''}
      </small>
    </span>
  )
}

export function Trouble({ error }: { error: Error }) {
  return (
    <p class="trouble" role="alert">
      {error.message || 'the studio does not answer'}
    </p>
  )
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p>
        <b>{title}</b>
      </p>
      {children}
    </div>
  )
}
