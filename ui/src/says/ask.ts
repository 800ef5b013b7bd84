/** What the network says of every sample of a part, and how a sample looks. */
import { json } from '../api'
import type { Pixels, Series } from '../try/ask'

export interface Judged {
  closed?: string
  parts: string[]
  part: string
  of: number
  kind: 'classes' | 'numbers' | 'loss'
  names: string[]
  looks: boolean
  index: number[]
  loss: number[]
  truth?: number[]
  said?: number[]
  sure?: number[]
  right?: number[]
}

export interface Look {
  index: number
  record?: number
  picture?: Pixels
  sound?: Pixels & { seconds: number }
  fields?: Record<string, unknown>
  text?: string
  futures?: Series[]
  answer?: Record<string, unknown>
  found?: [string, number, number, number, number, number][]
  true?: [string, number, number, number, number][]
}

export const judged = (key: string, part: string, stop?: AbortSignal) =>
  json<Judged>(`/api/runs/${key}/says${part ? `?part=${encodeURIComponent(part)}` : ''}`, stop)

export const looks = async (key: string, part: string, at: number[], stop?: AbortSignal) =>
  (await json<{ looks: Look[] }>(`/api/runs/${key}/says/looks?part=${encodeURIComponent(part)}&at=${at.join()}`, stop)).looks
