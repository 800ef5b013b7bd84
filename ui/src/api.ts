/** What the server tells, and how it is asked. */

export type Number = number | 'NaN' | 'Infinity' | '-Infinity' | null
export type State = 'running' | 'reading' | 'finished' | 'stopped' | 'interrupted' | 'failed'

export interface Row {
  key: string
  name: string
  version: number
  state: State
  why: string
  reading: boolean
  task: string
  model: string
  written: string
  monitor: string
  better: string
  step: number
  steps: number
  seconds: number
  findings: Partial<Record<Severity, number>>
  score: Number
  part: string
  best_step: number | null
  baseline: { name: string; value: number; apart: [Number, Number, Number] | null } | null
  spark: Number[]
  tags: string[]
  note: string
}

export type Severity = 'note' | 'warning' | 'error'
export type Fix =
  | { kind: 'patch'; changes: Record<string, unknown> }
  | { kind: 'edit'; text: string }
  | { kind: 'advice'; text: string }

export interface Finding {
  step: number
  rule: string
  severity: Severity
  what: string
  where: string
  why: string
  evidence: Record<string, Number>
  fixes: Fix[]
}

/** Ways to go on from one state, on the same batches. */
export interface Tried {
  step: number
  rule: string
  start: number
  steps: number
  judge: string
  branches: { what: string; loss: Number; error: Number; trouble: string }[]
  won: string
  text: string
}

export interface Repair {
  step: number
  rule: string
  trouble: string
  what: string
  keys: Record<string, unknown>
  state: string
  why: string
}

export interface Evaluation {
  step: number
  epoch: number
  part: string
  metrics: Record<string, Number>
  best: boolean
}

export interface Ended {
  outcome: string
  reason: string
  seconds: number
  scores: Record<string, Number>
  baselines: Record<string, Record<string, Number>>
  intervals: Record<string, [Number, Number]>
  differences: Record<string, Record<string, [Number, Number, Number]>>
  skipped: Record<string, string>
}

export interface About extends Row {
  steps_per_epoch: number
  columns: Record<string, number>
  layers: Record<string, number>
  shown: number
  evals: Evaluation[]
  attempts: { attempt: number; from_step: number; time: string; note: string }[]
  checkpoints: { step: number; path: string; seconds: number }[]
  found: Finding[]
  skipped: { step: number; what: string; places: string[]; incident: string }[]
  tried: Tried[]
  repairs: Repair[]
  unreadable: number
  confusion: boolean
  ended: Ended | null
  facts: Record<string, unknown>
}

export interface Runs {
  folder: string
  control: boolean
  tick: number
  whole: boolean
  runs: Row[]
  gone: string[]
}

export interface Exhibit {
  kind: string
  title: string
  data: Record<string, unknown>
}

export interface Samples {
  at: number
  of: { step: number; part: string }[]
  exhibits: Exhibit[]
}

/** One point for each stretch of steps. */
export interface Column {
  name: string
  step: Float64Array
  low: Float64Array
  high: Float64Array
  mean: Float64Array
  bad: Float64Array
}

export interface Asked {
  from?: number
  to?: number
  room: number
  log?: boolean
  smooth?: number
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

export const runs = (stop?: AbortSignal, since = -1) => json<Runs>(`/api/runs?since=${since}`, stop)
export const about = (key: string, stop?: AbortSignal) => json<About>(`/api/runs/${key}`, stop)
export const recipe = (key: string, stop?: AbortSignal) => json<Record<string, unknown>>(`/api/runs/${key}/recipe`, stop)
export const confusion = (key: string, stop?: AbortSignal) =>
  json<{ labels: string[]; counts: number[][] }>(`/api/runs/${key}/confusion`, stop)
export const samples = (key: string, at: number | null, stop?: AbortSignal) =>
  json<Samples>(`/api/runs/${key}/samples${at === null ? '' : `?at=${at}`}`, stop)

export async function series(key: string, names: string[], asked: Asked, stop?: AbortSignal): Promise<Column[]> {
  if (!names.length) return []
  const query = new URLSearchParams(names.map((name) => ['name', name]))
  query.set('room', String(Math.round(asked.room)))
  if (asked.from !== undefined) query.set('from', String(asked.from))
  if (asked.to !== undefined) query.set('to', String(asked.to))
  if (asked.log) query.set('log', '1')
  if (asked.smooth) query.set('smooth', String(asked.smooth))
  const { head, body, at } = await binary<{ columns: { name: string; points: number }[] }>(
    `/api/runs/${key}/series?${query}`,
    stop,
  )
  let offset = at
  const next = (points: number) => {
    const found = new Float64Array(body, offset, points)
    offset += points * 8
    return found
  }
  return head.columns.map(({ name, points: n }) => ({
    name,
    step: next(n),
    low: next(n),
    high: next(n),
    mean: next(n),
    bad: next(n),
  }))
}

export interface Heat {
  layers: string[]
  steps: number[]
  values: Float32Array
}

export async function layers(key: string, statistic: string, room: number, stop?: AbortSignal): Promise<Heat> {
  const query = new URLSearchParams({ statistic, room: String(room) })
  const { head, body, at } = await binary<{ layers: string[]; steps: number[] }>(
    `/api/runs/${key}/layers?${query}`,
    stop,
  )
  return { ...head, values: new Float32Array(body, at) }
}

/** The process that looks into networks begins, so that the first question need not wait for it. */
export const ready = (key: string) => json<{ closed: string }>(`/api/runs/${key}/ready`)

export async function stop(key: string): Promise<string> {
  const answer = await fetch(`/api/runs/${key}/stop`, { method: 'POST', headers: { 'x-trainwright': '1' } })
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim())
  return ((await answer.json()) as { told: string }).told
}

export async function note(key: string, told: { tags: string[]; note: string }): Promise<{ tags: string[]; note: string }> {
  const answer = await fetch(`/api/runs/${key}/note`, {
    method: 'POST',
    headers: { 'x-trainwright': '1', 'content-type': 'application/json' },
    body: JSON.stringify(told),
  })
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim())
  const kept = (await answer.json()) as { tags: string[]; note: string; refused?: string }
  if (kept.refused !== undefined) throw new Error(kept.refused)
  return kept
}

export async function json<T>(path: string, stop?: AbortSignal): Promise<T> {
  return (await (await asked(path, stop)).json()) as T
}

export async function binary<T>(path: string, stop?: AbortSignal): Promise<{ head: T; body: ArrayBuffer; at: number }> {
  const body = await (await asked(path, stop)).arrayBuffer()
  const size = new DataView(body).getUint32(0, true)
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, size))) as T
  return { head, body, at: 4 + size }
}

async function asked(path: string, stop?: AbortSignal): Promise<Response> {
  const answer = await fetch(path, { signal: stop ?? null })
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim())
  return answer
}
