/** The list of runs: which there are, how they stand, what to open or compare. */
import { computed, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { type Row, type Runs as Told, runs as ask } from './api'
import { ago, finite } from './format'
import { kept } from './kept'
import { turns } from './live'
import { useLoaded } from './loaded'
import { Empty, Progress, SeveritySign, Spark, Standing, StateBadge, Trouble } from './parts'
import { go, toCompare, toRun, toSearch } from './place'
import { searches } from './search/ask'

type Order = 'age' | 'name' | 'state' | 'task' | 'score'
const filter = kept<string>('filter', '')
const order = kept<string>('order', 'age')
const upward = kept<boolean>('upward', false)
const marked = signal<string[]>([])
const at = signal(-1)

const told = signal<Told | undefined>(undefined)
const shown = computed<Row[]>(() => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean)
  const rows = (told.value?.runs ?? []).filter((r) => {
    const text = [r.name, r.state, r.state === 'running' ? 'training' : '', r.task, r.model, ...Object.keys(r.findings), ...r.tags, r.note]
    return words.every((w) => text.join(' ').toLowerCase().includes(w))
  })
  const by = BY[order.value as Order] ?? BY.age
  const sorted = rows.sort((a, b) => {
    const [x, y] = [by(a), by(b)]
    return x < y ? -1 : x > y ? 1 : a.name < b.name ? -1 : 1
  })
  return upward.value ? sorted : sorted.reverse()
})

const BY: Record<Order, (r: Row) => string | number> = {
  age: (r) => (r.state === 'running' ? '~' : '') + r.written,
  name: (r) => r.name,
  state: (r) => r.state,
  task: (r) => `${r.task} ${r.model}`,
  score: (r) => (r.score === null ? -Infinity : finite(r.score) * (r.better === 'higher' ? 1 : -1)),
}

/** Only what is new: a list of thousands is asked for once. */
async function fetchNew(stop: AbortSignal): Promise<void> {
  const news = await ask(stop, told.value?.tick ?? -1)
  const old = news.whole ? [] : (told.value?.runs ?? [])
  const rows = new Map(old.map((r) => [r.key, r]))
  for (const row of news.runs) rows.set(row.key, row)
  for (const key of news.gone) rows.delete(key)
  told.value = { ...news, runs: [...rows.values()] }
}

export function Runs() {
  const { error } = useLoaded(fetchNew, 'runs', turns.value)
  useEffect(() => {
    document.title = 'Runs · Trainwright studio'
  }, [])
  useKeys()
  if (error && !told.value) return <Trouble error={error} />
  if (!told.value) return <p class="opening">reading the runs …</p>
  if (!told.value.runs.length)
    return (
      <>
        <Searches />
        <Nothing folder={told.value.folder} />
      </>
    )
  return (
    <>
      <Bar />
      <Searches />
      <Table />
    </>
  )
}

/** Folders that hold the runs of one question. */
function Searches() {
  const { value } = useLoaded((s) => searches(s), 'searches', told.value?.runs.length ?? 0)
  if (!value?.length) return null
  return (
    <p class="chips searches" aria-label="searches and cross-validations">
      {value.map((s) => (
        <a key={s.key} class="chip" href={toSearch(s.key)}>
          <span aria-hidden="true">{s.kind === 'search' ? '⌕' : '⊞'}</span> {s.name} <small class="mute">{s.kind === 'search' ? 'search' : 'cross-validation'}</small>
        </a>
      ))}
    </p>
  )
}

function Nothing({ folder }: { folder: string }) {
  return (
    <Empty title={`No runs in ${folder} yet`}>
      <p>A run appears here by itself when it begins. The built-in example needs nothing but the install:</p>
      <pre>trainwright train digits</pre>
    </Empty>
  )
}

function Bar() {
  const counts = new Map<string, number>()
  for (const r of told.value!.runs) counts.set(r.state, (counts.get(r.state) ?? 0) + 1)
  return (
    <div class="bar">
      <h1>
        Runs <span class="mute">{told.value!.runs.length}</span>
      </h1>
      <input
        id="filter"
        type="search"
        placeholder="filter: name, task, model, state, tag  ( / )"
        aria-label="filter the runs"
        value={filter.value}
        onInput={(e) => (filter.value = e.currentTarget.value)}
      />
      <span class="chips">
        {[...counts].map(([state, n]) => (
          <button
            key={state}
            class="chip"
            aria-pressed={filter.value === state}
            onClick={() => (filter.value = filter.value === state ? '' : state)}
          >
            {state === 'running' ? 'training' : state} {n}
          </button>
        ))}
      </span>
      <span class="grow" />
      {marked.value.length > 0 && (
        <span class="chips">
          <button class="chip" onClick={() => (marked.value = [])}>
            clear
          </button>
          <button class="main" disabled={marked.value.length < 2} onClick={() => go(toCompare(marked.value))}>
            {marked.value.length < 2 ? 'mark one more to compare' : `compare ${marked.value.length} runs`}
          </button>
        </span>
      )}
    </div>
  )
}

function Heading({ by, children }: { by: Order; children: string }) {
  const on = order.value === by
  return (
    <th scope="col" aria-sort={on ? (upward.value ? 'ascending' : 'descending') : 'none'}>
      <button
        class="heading"
        onClick={() => {
          upward.value = on ? !upward.value : by !== 'age' && by !== 'score'
          order.value = by
        }}
      >
        {children}
        <span aria-hidden="true">{on ? (upward.value ? ' ↑' : ' ↓') : ''}</span>
      </button>
    </th>
  )
}

function Table() {
  const rows = shown.value
  if (!rows.length) return <Empty title="No run matches the filter" />
  return (
    <table class="runs">
      <thead>
        <tr>
          <th>
            <span class="unseen">compare</span>
          </th>
          <Heading by="name">run</Heading>
          <Heading by="state">state</Heading>
          <Heading by="task">task · model</Heading>
          <Heading by="score">score</Heading>
          <th scope="col">training loss</th>
          <th scope="col">progress</th>
          <Heading by="age">begun</Heading>
        </tr>
      </thead>
      <tbody>
        {rows.slice(0, 500).map((run, i) => (
          <Line key={run.key} run={run} here={i === at.value} />
        ))}
      </tbody>
      {rows.length > 500 && <caption>the first 500 of {rows.length} runs; filter for the others</caption>}
    </table>
  )
}

function Line({ run, here }: { run: Row; here: boolean }) {
  const line = useRef<HTMLTableRowElement>(null)
  useEffect(() => {
    if (here) line.current?.scrollIntoView({ block: 'nearest' })
  }, [here])
  const on = marked.value.includes(run.key)
  return (
    <tr ref={line} class={`${here ? 'here' : ''} ${on ? 'marked' : ''}`} data-run={run.name}>
      <td class="mark">
        <input type="checkbox" aria-label={`compare ${run.name}`} checked={on} onChange={() => mark(run.key)} />
      </td>
      <td class="name">
        <a href={toRun(run.key)}>{run.name}</a>
        {(['error', 'warning'] as const).map(
          (s) => run.findings[s] && <SeveritySign key={s} severity={s} />,
        )}
        {run.tags.map((t) => (
          <button key={t} class="tag" title={`only runs with "${t}"`} onClick={() => (filter.value = t)}>
            {t}
          </button>
        ))}
        {run.note && <small class="mute noted">{run.note.split('\n')[0]}</small>}
        {run.why && <small class="poor">{run.why}</small>}
      </td>
      <td class="is">
        <StateBadge state={run.state} />
      </td>
      <td class="what">
        {run.task} <span class="mute">· {run.model}</span>
      </td>
      <td class="score">
        <Standing run={run} />
      </td>
      <td class="curve">
        <Spark values={run.spark} label={`training loss of ${run.name}`} />
      </td>
      <td class="how">
        <Progress run={run} />
      </td>
      <td class="age">
        <time dateTime={run.written}>{ago(run.written)}</time>
      </td>
    </tr>
  )
}

const mark = (key: string) => {
  marked.value = marked.value.includes(key) ? marked.value.filter((k) => k !== key) : [...marked.value, key].slice(-8)
}

function useKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typing = (event.target as HTMLElement).matches('input, select, textarea')
      if (event.key === 'Escape' && typing) (event.target as HTMLElement).blur()
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return
      const run = shown.value[at.value]
      if (event.key === '/') {
        event.preventDefault()
        document.getElementById('filter')?.focus()
      } else if (event.key === 'j' || event.key === 'k') {
        const next = at.value + (event.key === 'j' ? 1 : -1)
        at.value = Math.max(0, Math.min(next, shown.value.length - 1))
      } else if (event.key === 'Enter' && run && !(event.target as HTMLElement).closest('a, button, input')) go(toRun(run.key))
      else if (event.key === 'x' && run) mark(run.key)
      else if (event.key === 'c' && marked.value.length > 1) go(toCompare(marked.value))
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}
