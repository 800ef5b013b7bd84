/** The network judged on every sample of a part: whom it takes for whom, how sure it is, and its worst mistakes first. */
import { useSignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { About } from '../api'
import { whole } from '../format'
import { useLoaded } from '../loaded'
import { Trouble } from '../parts'
import { judged, type Judged as Told } from './ask'
import { Calibration } from './calibration'
import { Gallery } from './gallery'
import { Matrix } from './matrix'
import { Scatter } from './scatter'
import { Left } from './left'

type Filter = 'worst' | 'all' | { truth: number; said: number } | { one: number }

export function Judged({ run, turn }: { run: About; turn: number }) {
  const part = useSignal('')
  const asked = useSignal(run.state !== 'running') // a training that runs is not slowed unasked
  if (!asked.value)
    return (
      <section class="card">
        <h2>Every sample</h2>
        <p>
          <button class="main" onClick={() => (asked.value = true)}>
            judge the network of the best checkpoint so far
          </button>{' '}
          <span class="mute">This takes some processor time beside the training.</span>
        </p>
        {run.confusion && <Left run={run} turn={turn} />}
      </section>
    )
  return <Every run={run} turn={turn} part={part.value} onPart={(p) => (part.value = p)} />
}

function Every({ run, turn, part, onPart }: { run: About; turn: number; part: string; onPart: (part: string) => void }) {
  const { value: told, error } = useLoaded((s) => judged(run.key, part, s), `${run.key} ${part}`, 0)
  const filter = useSignal<Filter>('worst')
  if (error && !told) return <Trouble error={error} />
  if (!told)
    return (
      <section class="card">
        <p class="opening">asking the network about every sample …</p>
        {run.confusion && <Left run={run} turn={turn} />}
      </section>
    )
  if (told.closed !== undefined)
    return (
      <section class="card">
        {run.confusion ? <Left run={run} turn={turn} /> : <h2>Every sample</h2>}
        <p class="mute">The samples themselves cannot be shown: {told.closed}.</p>
      </section>
    )
  if (told.kind === 'loss' && !told.looks) return null // nothing but numbers that the curves tell
  return <Shown run={run} told={told} filter={filter.value} onFilter={(f) => (filter.value = f)} onPart={onPart} />
}

interface ShownProps {
  run: About
  told: Told
  filter: Filter
  onFilter: (filter: Filter) => void
  onPart: (part: string) => void
}

function Shown({ run, told, filter, onFilter, onPart }: ShownProps) {
  const counts = useMemo(() => {
    if (told.kind !== 'classes') return []
    const table = told.names.map(() => told.names.map(() => 0))
    told.truth!.forEach((t, i) => (table[t]![told.said![i]!]! += 1))
    return table
  }, [told])
  const hit = useMemo(() => (told.kind === 'classes' ? told.truth!.map((t, i) => t === told.said![i]) : []), [told])
  const chosen = useMemo(() => {
    const all = told.index.map((_, i) => i).sort((a, b) => told.loss[b]! - told.loss[a]!)
    if (filter === 'all') return all
    if (filter === 'worst') return told.kind === 'classes' ? all.filter((i) => !hit[i]) : all
    if ('one' in filter) return [filter.one]
    return all.filter((i) => told.truth![i] === filter.truth && told.said![i] === filter.said)
  }, [told, filter])
  return (
    <section class="card judged" aria-label="every sample">
      <div class="tools">
        <h2>Every sample</h2>
        <label>
          of{' '}
          <select value={told.part} onChange={(e) => onPart(e.currentTarget.value)}>
            {told.parts.map((p) => (
              <option key={p}>{p}</option>
            ))}
          </select>
        </label>
        <span class="mute">
          {told.index.length < told.of ? `${whole(told.index.length)} of ${whole(told.of)}, as many as can be judged quickly` : `all ${whole(told.of)}`}, by
          the weights that the run serves
        </span>
      </div>
      {told.kind === 'classes' && (
        <div class="judgement">
          <div>
            <h3>Whom it takes for whom</h3>
            <Matrix labels={told.names} counts={counts} onCell={(truth, said) => onFilter({ truth, said })} />
          </div>
          <Calibration sure={told.sure!} hit={hit} />
        </div>
      )}
      {told.kind === 'numbers' && <Scatter truth={told.truth!} said={told.said!} onPoint={(one) => onFilter({ one })} />}
      <div class="tools samples-of">
        <h3>{title(told, filter, chosen.length)}</h3>
        <span class="buttons">
          {(told.kind === 'classes' || filter !== 'worst') && (
            <button aria-pressed={filter === 'worst'} onClick={() => onFilter('worst')}>
              {told.kind === 'classes' ? 'mistakes' : 'worst first'}
            </button>
          )}
          {told.kind === 'classes' && (
            <button aria-pressed={filter === 'all'} onClick={() => onFilter('all')}>
              all
            </button>
          )}
        </span>
      </div>
      {chosen.length ? <Gallery key={JSON.stringify(filter) + told.part} run={run} told={told} chosen={chosen} /> : <p class="mute">None: every answer was right.</p>}
    </section>
  )
}

function title(told: Told, filter: Filter, count: number): string {
  if (filter === 'worst') return told.kind === 'classes' ? `${whole(count)} ${count === 1 ? 'mistake' : 'mistakes'}, the worst first` : 'The highest loss first'
  if (filter === 'all') return 'All, the highest loss first'
  if ('one' in filter) return 'The chosen sample'
  return `${told.names[filter.truth]} called ${told.names[filter.said]}: ${count}`
}
