/** What may be given to a run, and what it answers. */
import { json, Refused } from '../api'

export interface Field {
  name: string
  kind: 'number' | 'date' | 'category'
  value: unknown
  levels?: string[]
}

export interface Draw {
  size: [number, number]
  paper: number
  ink: number
  fill: number
}

export interface How {
  temperature: number
  top_k: number
  top_p: number
  repetition: number
}

export interface Offered {
  closed?: string
  task: string
  files: string[]
  largest: number
  text: boolean
  composes: boolean
  continues: boolean
  prompt?: How
  fields?: Field[]
  draw?: Draw
}

export interface Pixels {
  size: [number, number, number]
  data: string
}

export interface Music {
  notes: [number, number, number, number?][]
  tempo: number
  primer: number
}

export interface Series {
  name: string
  before: (number | null)[]
  values: number[]
  low: number[]
  high: number[]
  true?: (number | null)[]
}

export interface Tried {
  answers?: Record<string, unknown>[]
  more?: boolean
  seen?: Pixels
  next?: [string, number, number][]
  text?: string
  notes?: string[]
  music?: Music
  forecast?: Series[]
  times?: string[]
  intervals?: string
}

export const offered = (key: string, stop?: AbortSignal) => json<Offered>(`/api/runs/${key}/try`, stop)

export async function tried(key: string, given: Record<string, unknown>, stop?: AbortSignal): Promise<Tried> {
  const answer = await fetch(`/api/runs/${key}/try`, {
    method: 'POST',
    headers: { 'x-trainwright': '1', 'content-type': 'application/json' },
    body: JSON.stringify(given),
    signal: stop ?? null,
  })
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim())
  const told = (await answer.json()) as Tried & { refused?: string }
  if (told.refused !== undefined) throw new Error(told.refused)
  return told
}

/** A file as it travels. */
export async function packed(file: Blob): Promise<string> {
  const reader = new FileReader()
  const whole = new Promise<string>((done, fail) => {
    reader.onload = () => done(reader.result as string)
    reader.onerror = () => fail(new Error('the file cannot be read'))
  })
  reader.readAsDataURL(file)
  const told = await whole
  return told.slice(told.indexOf(',') + 1)
}
