/** Searches and cross-validations, as their folders tell them. */
import { json, type Number as Told } from '../api'

export interface Brief {
  key: string
  name: string
  kind: 'search' | 'folds'
}

export interface Span {
  key: string
  low?: number
  high?: number
  log?: boolean
  choices?: unknown[]
}

export interface Trial {
  trial: number
  run: string | null // its key
  state: string
  reached: (number | null)[]
  seconds: number | null
  steps: number | null
  values: Record<string, unknown>
  why: string
}

export interface Study extends Brief {
  kind: 'search'
  objectives: string[]
  better: string[]
  space: Span[]
  sampler: string
  pruner: string
  wanted: number | null
  trials: Trial[]
  importance: Record<string, number>
  ended: boolean
  best: string | null
}

export interface Mean {
  mean: Told
  deviation: Told
  low: Told
  high: Told
  n: number
}

export interface Folds extends Brief {
  kind: 'folds'
  folds: number
  repeats: number
  runs: { name: string; key: string; state: string; scores: Record<string, Told> }[]
  failed: Record<string, string>
  scores: Record<string, Mean>
  baselines: Record<string, Record<string, Mean>>
  differences: Record<string, Record<string, Mean>>
  ended: boolean
}

export const searches = (stop?: AbortSignal) => json<Brief[]>('/api/searches', stop)
export const search = (key: string, stop?: AbortSignal) => json<Study | Folds>(`/api/searches/${key}`, stop)
