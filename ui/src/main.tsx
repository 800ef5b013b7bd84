/** The studio: what stands around every view, and which view is open. */
import 'uplot/dist/uPlot.min.css'
import './style.css'
import { render, type ComponentType } from 'preact'
import { signal, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { connected, listen } from './live'
import { go, place } from './place'
import { Runs } from './runs'
import { chosen, turn } from './theme'

interface Views {
  Run: ComponentType<{ id: string }>
  Compare: ComponentType<{ ids: string[] }>
  Search: ComponentType<{ id: string }>
}
const lazy = signal<Views | null>(null)

/** Curves are drawn by a part of the bundle that the list of runs does not wait for. */
async function fetchViews(): Promise<void> {
  const [{ Run }, { Compare }, { Search }] = await Promise.all([import('./run'), import('./compare'), import('./search/search')])
  lazy.value = { Run, Compare, Search }
}

function View() {
  const at = place.value
  if (at.at === 'runs') return <Runs />
  if (!lazy.value) return <p class="opening">opening …</p>
  const { Run, Compare, Search } = lazy.value
  if (at.at === 'search') return <Search key={at.key} id={at.key} />
  return at.at === 'run' ? <Run key={at.key} id={at.key} /> : <Compare key={at.keys.join()} ids={at.keys} />
}

const KEYS = [
  ['/', 'filter the runs'],
  ['j, k', 'next and previous run'],
  ['Enter', 'open the run'],
  ['x', 'mark the run for comparing'],
  ['c', 'compare the marked runs'],
  ['1 … 7', 'the tabs of a run'],
  ['+, −, ←, →, 0', 'zoom and move in a curve that has the focus'],
  ['Esc', 'back to the runs'],
  ['t', 'dark, light, as the system'],
  ['?', 'this list'],
] as const

function App() {
  const help = useSignal(false)
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typing = (event.target as HTMLElement).matches('input, select, textarea')
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return
      if (event.key === 't') turn()
      else if (event.key === '?') help.value = !help.value
      else if (event.key === 'Escape') {
        if (help.value) help.value = false
        else go('#/')
      }
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>
        to the content
      </a>
      <header class="top">
        <a class="brand" href="#/">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M5 7c3 12 7 16.5 21 17" />
            <circle cx="26" cy="24" r="3.5" />
          </svg>
          Trainwright <span>studio</span>
        </a>
        <span class="grow" />
        {!connected.value && (
          <span class="lost" role="status">
            not connected
          </span>
        )}
        <button class="quiet" onClick={turn} title="theme (t)" aria-label={`theme: ${chosen.value}`}>
          {{ system: '◐', dark: '●', light: '○' }[chosen.value] ?? '◐'}
        </button>
        <button class="quiet" onClick={() => (help.value = !help.value)} title="keys (?)" aria-label="keys">
          ?
        </button>
      </header>
      {help.value && (
        <dialog open class="help" aria-label="keys">
          <dl>
            {KEYS.map(([key, what]) => (
              <div key={key}>
                <dt>{key}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
          <button onClick={() => (help.value = false)}>close</button>
        </dialog>
      )}
      <main id="main" tabIndex={-1}>
        <View />
      </main>
    </>
  )
}

listen()
void fetchViews()
const app = document.getElementById('app')!
app.textContent = ''
render(<App />, app)
