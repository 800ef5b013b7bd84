/** Where the person is: the part of the address behind #, so that every view can be linked and gone back to. */
import { computed, signal } from '@preact/signals'

export const TABS = ['curves', 'layers', 'findings', 'samples', 'recipe', 'inside', 'try'] as const
export type Tab = (typeof TABS)[number]
export type Place = { at: 'runs' } | { at: 'run'; key: string; tab: Tab } | { at: 'compare'; keys: string[] }

const hash = signal(location.hash)
addEventListener('hashchange', () => (hash.value = location.hash))

export const place = computed<Place>(() => {
  const [what, which, tab] = hash.value.replace(/^#\/?/, '').split('/')
  if (what === 'run' && which) return { at: 'run', key: which, tab: TABS.find((t) => t === tab) ?? 'curves' }
  if (what === 'compare' && which) return { at: 'compare', keys: which.split(',').filter(Boolean) }
  return { at: 'runs' }
})

export const toRun = (key: string, tab?: Tab) => `#/run/${key}${tab && tab !== 'curves' ? `/${tab}` : ''}`
export const toCompare = (keys: string[]) => `#/compare/${keys.join(',')}`
export const go = (to: string) => (location.hash = to)
