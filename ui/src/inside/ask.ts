/** What the server tells of one step of a network. */
import { Refused, type Number } from '../api'

export type What = 'value' | 'gradient' | 'change'

export interface Node {
  id: number
  kind: 'weight' | 'data' | 'constant' | 'value'
  op: string
  name: string
  title: string
  words: string
  block: string
  shape: number[]
  slabs: number
  rows: number
  cols: number
  tile: [number, number] | null
  picture: boolean
  reads: number[]
  gradient: boolean
  change: boolean
}

export interface Outline {
  closed?: string // why there is nothing to see
  steps: number[]
  parts: Record<string, number>
  large: boolean
  writes: boolean // texts, so that one's own can be looked at
  notes: string[]
  captured?: boolean // while it trained: the network itself is not at hand
}

export interface Step {
  step: number
  part: string
  sample: number
  loss: Number
  after: Number
  norm: Number
  finite: boolean
  difference: number
  optimizer: string
  rate: number
  classes: string[]
  tokens: string[]
  truth: string[]
  said: string
  nodes: Node[]
}

export interface Term {
  cells: [number, number][]
  numbers: Number[]
  value: Number
}

export interface Cell {
  node: number
  cell: number
  at: number[]
  value: Number
  gradient: Number
  change: Number
  what: What
  agrees: boolean | null
  formula: string
  again: Number
  of: number
  terms: Term[]
  rest: Number
  steps: [string, Number][]
}

export interface Decisions {
  side: number
  low: [number, number]
  high: [number, number]
  grid: number[]
  sure: number[]
  classes: string[]
  points: [number, number, number][]
}

/** What each number of a tensor comes to everywhere on the plane of two inputs. */
export interface Units {
  side: number
  count: number
  of: number // there are more than are told
  scale: number
  cells: Float32Array // (count, side, side), rows from the bottom
}

/** The cells of each tensor, or its tiles, and what is drawn in the full colour. */
export type Numbers = Map<number, { cells: Float32Array; scale: number }>

export interface At {
  step: number | null
  part: string | null
  sample: number
  text: string // of one's own, instead of a sample; empty: none
}

const query = (at: At, more: Record<string, string | number> = {}) => {
  const found = new URLSearchParams({ sample: String(at.sample) })
  if (at.step !== null) found.set('step', String(at.step))
  if (at.part !== null) found.set('part', at.part)
  if (at.text) found.set('text', at.text)
  for (const [name, value] of Object.entries(more)) found.set(name, String(value))
  return found
}

const json = async <T>(path: string, stop?: AbortSignal) => (await (await asked(path, stop)).json()) as T

export const outline = (key: string, stop?: AbortSignal) => json<Outline>(`/api/runs/${key}/inside`, stop)
export const step = (key: string, at: At, stop?: AbortSignal) =>
  json<Step>(`/api/runs/${key}/inside/step?${query(at)}`, stop)
export const decisions = async (key: string, at: At, stop?: AbortSignal) =>
  (await json<{ decisions: Decisions | null }>(`/api/runs/${key}/inside/decisions?${query(at)}`, stop)).decisions
export const cell = (key: string, at: At, where: Record<string, number>, what: What, stop?: AbortSignal) =>
  json<Cell>(`/api/runs/${key}/inside/cell?${query(at, { ...where, what })}`, stop)

export async function numbers(key: string, at: At, what: What, stop?: AbortSignal): Promise<Numbers> {
  const { head, body, from: first } = await framed<{ tensors: { id: number; cells: number; scale: number }[] }>(`/api/runs/${key}/inside/numbers?${query(at, { what })}`, stop)
  const found: Numbers = new Map()
  let from = first
  for (const { id, cells, scale } of head.tensors) {
    found.set(id, { cells: new Float32Array(body, from, cells), scale })
    from += cells * 4
  }
  return found
}

export async function units(key: string, at: At, node: number, stop?: AbortSignal): Promise<Units | null> {
  const { head, body, from } = await framed<{ units: Omit<Units, 'cells'> | null }>(`/api/runs/${key}/inside/units?${query(at, { node })}`, stop)
  return head.units && { ...head.units, cells: new Float32Array(body, from) }
}

/** An answer of four bytes with the size of its head, the head, and numbers from a place on. */
async function framed<T>(path: string, stop?: AbortSignal) {
  const body = await (await asked(path, stop)).arrayBuffer()
  const size = new DataView(body).getUint32(0, true)
  return { head: JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, size))) as T, body, from: 4 + size }
}

async function asked(path: string, stop?: AbortSignal): Promise<Response> {
  for (let tries = 0; ; tries++) {
    const answer = await fetch(path, { signal: stop ?? null })
    if (answer.ok) return answer
    if (answer.status !== 503 || tries > 20) throw new Refused(answer.status, (await answer.text()).trim())
    await new Promise((go) => setTimeout(go, 1000)) // others look too
  }
}
