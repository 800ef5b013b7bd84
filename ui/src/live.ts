/**
 * News from the server, one stream for all tabs of a browser: it allows six connections to a server, and a stream
 * holds one for good. The tab that holds a lock listens, and tells the others.
 */
import { signal } from '@preact/signals'

type News = { kind: 'hello' | 'changed' | 'lost'; keys: string[] }

/** Counts turns of any run; and of each. A page that draws a run again does so when its number moves. */
export const turns = signal(0)
export const connected = signal(true)
const each = new Map<string, number>()

export const turnsOf = (key: string) => (each.get(key) ?? 0) + all
let all = 0 // turns of which nobody knows whom they concern

export function listen(): void {
  const others = new BroadcastChannel('trainwright')
  others.onmessage = (event) => heard(event.data as News)
  const tell = (news: News) => {
    heard(news)
    others.postMessage(news)
  }
  void navigator.locks.request('trainwright', () => new Promise<never>(() => stream(tell)))
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) turned([]) // what came while nobody looked
  })
}

function stream(tell: (news: News) => void): void {
  const source = new EventSource('/api/stream')
  source.addEventListener('hello', () => tell({ kind: 'hello', keys: [] }))
  source.addEventListener('changed', (e) => tell({ kind: 'changed', keys: JSON.parse((e as MessageEvent).data) }))
  source.onerror = () => {
    tell({ kind: 'lost', keys: [] })
    if (source.readyState === EventSource.CLOSED) setTimeout(() => stream(tell), 3000)
  }
}

function heard(news: News): void {
  connected.value = news.kind !== 'lost'
  if (news.kind === 'lost' || document.hidden) return
  turned(news.keys)
}

function turned(keys: string[]): void {
  if (!keys.length) all += 1
  for (const key of keys) each.set(key, (each.get(key) ?? 0) + 1)
  turns.value += 1
}
