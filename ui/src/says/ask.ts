/** What the network says of every sample of a part, and how a sample looks. */
import { binary, json } from '../api'
import type { Pixels, Series } from '../try/ask'

export interface Judged {
  closed?: string
  parts: string[]
  part: string
  of: number
  kind: 'classes' | 'numbers' | 'loss'
  names: string[]
  looks: boolean
  attends?: boolean // pieces of its texts look at each other
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

/** One attention: of each head, for each piece that looks, how much of each piece it takes. */
export interface Attention {
  name: string
  title: string
  heads: number
  queries: string // which text looks
  keys: string // which is looked at
  cells: Float32Array // (heads, pieces that look, pieces that are looked at)
}

export interface Attended {
  texts: Record<string, string[]>
  maps: Attention[]
}

export async function attention(key: string, part: string, sample: number, stop?: AbortSignal): Promise<Attended> {
  const { head, body, at } = await binary<Attended>(`/api/runs/${key}/says/attention?part=${encodeURIComponent(part)}&sample=${sample}`, stop)
  let from = at
  const maps = head.maps.map((m) => {
    const cells = new Float32Array(body, from, m.heads * head.texts[m.queries]!.length * head.texts[m.keys]!.length)
    from += cells.byteLength
    return { ...m, cells }
  })
  return { texts: head.texts, maps }
}
