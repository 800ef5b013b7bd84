/** What a view shows: asked for when it opens, again when its run moved, at most once a second; the old stays till then. */
import { useEffect, useRef, useState } from 'preact/hooks'

export interface Loaded<T> {
  value: T | undefined
  error: Error | undefined
}

const PAUSE = 1000 // ms between two answers of the same question

/**
 * @param load asks
 * @param question what it depends on; another one is asked at once
 * @param turn moves when there is something new
 */
export function useLoaded<T>(load: (stop: AbortSignal) => Promise<T>, question: string, turn: number): Loaded<T> {
  const [state, set] = useState<Loaded<T> & { question: string }>({ value: undefined, error: undefined, question })
  const last = useRef({ question: '', at: 0 })
  useEffect(() => {
    const stop = new AbortController()
    const ask = async () => {
      last.current = { question, at: performance.now() }
      try {
        const value = await load(stop.signal)
        if (!stop.signal.aborted) set({ value, error: undefined, question })
      } catch (error) {
        if (!stop.signal.aborted) set((old) => ({ ...old, error: error as Error }))
      }
    }
    const wait = last.current.question === question ? last.current.at + PAUSE - performance.now() : 0
    const timer = setTimeout(ask, Math.max(0, wait))
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [question, turn])
  return state
}
