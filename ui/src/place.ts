/** Where the person is: the part of the address behind #, so that every view can be linked and gone back to. */
import { computed, signal } from '@preact/signals'

export const TABS = ['curves', 'layers', 'findings', 'samples', 'recipe', 'inside', 'try'] as const
export type Tab = (typeof TABS)[number]
export type Place = { at: 'runs' } | { at: 'run'; key: string; tab: Tab; query: URLSearchParams } | { at: 'compare'; keys: string[] } | { at: 'search'; key: string }

const hash = signal(location.hash)
addEventListener('hashchange', () => (hash.value = location.hash))

export const place = computed<Place>(() => {
  const [path, asked] = hash.value.replace(/^#\/?/, '').split('?')
  const [what, which, tab] = path!.split('/')
  if (what === 'run' && which)
    return { at: 'run', key: which, tab: TABS.find((t) => t === tab) ?? 'curves', query: new URLSearchParams(asked) }
  if (what === 'compare' && which) return { at: 'compare', keys: which.split(',').filter(Boolean) }
  if (what === 'search' && which) return { at: 'search', key: which }
  return { at: 'runs' }
})

export const toRun = (key: string, tab?: Tab) => `#/run/${key}${tab && tab !== 'curves' ? `/${tab}` : ''}`
export const toInside = (key: string, at: Record<string, string | number>) =>
  `#/run/${key}/inside?${new URLSearchParams(Object.entries(at).map(([n, v]) => [n, String(v)]))}`
export const toSearch = (key: string) => `#/search/${key}`
export const toFinding = (key: string, at: number | string) => `#/run/${key}/findings?at=${at}`
export const toCompare = (keys: string[]) => `#/compare/${keys.join(',')}`
export const go = (to: string) => (location.hash = to)
