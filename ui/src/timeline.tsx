/** What happened, on the line of the steps: attempts, checkpoints, findings, trials and repairs; each opens its story. */
import type { About, Severity } from './api'
import { whole } from './format'
import { toFinding } from './place'

interface Spot {
  step: number
  kind: Severity | 'skipped' | 'trial' | 'repair'
  sign: string
  text: string
  to: string
}

export function Timeline({ run }: { run: About }) {
  const end = Math.max(run.step, run.steps, 1)
  const spots: Spot[] = [
    ...run.found.map((f, i) => ({ step: f.step, kind: f.severity, sign: { error: '✕', warning: '!', note: 'i' }[f.severity], text: f.what, to: toFinding(run.key, i) })),
    ...run.skipped.slice(0, 50).map((s) => ({ step: s.step, kind: 'skipped' as const, sign: '✕', text: `not taken: ${s.what}`, to: toFinding(run.key, 'skipped') })),
    ...run.tried.map((t) => ({ step: t.step, kind: 'trial' as const, sign: '⚖', text: t.text || `a trial of what to do about ${t.rule}`, to: toFinding(run.key, rankOf(run, t.rule)) })),
    ...run.repairs.map((r) => ({ step: r.step, kind: 'repair' as const, sign: '✚', text: `${r.state}: ${r.what}`, to: toFinding(run.key, rankOf(run, r.rule)) })),
  ]
  if (!spots.length) return null
  return (
    <nav class="timeline" aria-label="what was found, on the line of the steps">
      <span class="rule" aria-hidden="true" />
      {run.checkpoints.map((c) => (
        <i key={c.step} class="kept" style={{ left: `${(c.step / end) * 100}%` }} title={`checkpoint of step ${whole(c.step)}`} />
      ))}
      {spots.map((s, i) => (
        <a key={i} class={`spot ${s.kind}`} href={s.to} style={{ left: `${(Math.min(s.step, end) / end) * 100}%`, top: `${crowd(spots, i, end) * 12}px` }} title={s.text} aria-label={`step ${whole(s.step)}: ${s.text}`}>
          {s.sign}
        </a>
      ))}
    </nav>
  )
}

const rankOf = (run: About, rule: string) => Math.max(0, run.found.findLastIndex((f) => f.rule === rule))

/** How many stand at about the same place before it: they are put below one another, four at most. */
const crowd = (spots: Spot[], i: number, end: number) => Math.min(3, spots.slice(0, i).filter((s) => Math.abs(s.step - spots[i]!.step) / end < 0.012).length)
