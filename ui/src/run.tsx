/** One run: how it stands, and the views of it. */
import { useSignal } from '@preact/signals'
import type { ComponentType } from 'preact'
import { useEffect } from 'preact/hooks'
import { about, ready, runs as list, stop, type About } from './api'
import { Curves } from './curves'
import { outline as ask } from './inside/ask'
import { Findings } from './findings'
import { duration, number, whole } from './format'
import { Layers } from './layers'
import { turns, turnsOf } from './live'
import { useLoaded } from './loaded'
import { Noted } from './noted'
import { judged, Progress, StateBadge, Trouble } from './parts'
import { go, place, TABS, toRun, type Tab } from './place'
import { Recipe } from './recipe'
import { Samples } from './samples'

const TITLES: Record<Tab, string> = {
  curves: 'Curves',
  layers: 'Layers',
  findings: 'Findings',
  samples: 'Samples',
  recipe: 'Recipe',
  inside: 'Inside',
  try: 'Try it',
}

export function Run({ id }: { id: string }) {
  void turns.value
  const turn = turnsOf(id)
  const { value: run, error } = useLoaded((s) => about(id, s), id, turn)
  const tab = place.value.at === 'run' ? place.value.tab : 'curves'
  useKeys(id)
  useEffect(() => document.querySelector('.tabs [aria-current]')?.scrollIntoView({ inline: 'nearest', block: 'nearest' }), [tab, !run])
  useEffect(() => {
    if (run) document.title = `${run.name} · Trainwright studio`
  }, [run?.name])
  useEffect(() => {
    if (run && run.state !== 'running' && run.checkpoints.length) void ready(id).catch(() => {}) // a training is not slowed unasked
  }, [id, !run, run?.state])
  if (!run) return error ? <Trouble error={error} /> : <p class="opening">reading the run …</p>
  return (
    <>
      {error && <Trouble error={error} />}
      <Head run={run} />
      <nav class="tabs" aria-label="views of the run">
        {TABS.map((t, i) => (
          <a
            key={t}
            href={toRun(id, t)}
            aria-current={t === tab ? 'page' : undefined}
            title={`${i + 1}`}
            onPointerEnter={t === 'inside' && t !== tab ? () => void ask(id).catch(() => {}) : undefined}
          >
            {TITLES[t]}
            <Count run={run} tab={t} />
          </a>
        ))}
      </nav>
      {tab === 'curves' && <Curves run={run} turn={turn} />}
      {tab === 'layers' && <Layers run={run} turn={turn} />}
      {tab === 'findings' && <Findings run={run} />}
      {tab === 'samples' && <Samples run={run} turn={turn} />}
      {tab === 'recipe' && <Recipe run={run} />}
      {tab === 'inside' && <Late load={network} run={run} turn={turn} />}
      {tab === 'try' && <Late load={attempt} run={run} turn={turn} />}
    </>
  )
}

type View = ComponentType<{ run: About; turn: number }>
const network = async (): Promise<View> => (await import('./inside/inside')).Inside
const attempt = async (): Promise<View> => (await import('./try/try')).Try

/** A view that is a part of the bundle for which nothing else waits. */
function Late({ load, run, turn }: { load: () => Promise<View>; run: About; turn: number }) {
  const found = useSignal<View | null>(null)
  useEffect(() => void load().then((view) => (found.value = view)), [])
  return found.value ? <found.value run={run} turn={turn} /> : <p class="opening">opening …</p>
}

function Count({ run, tab }: { run: About; tab: Tab }) {
  const n = tab === 'findings' ? run.found.length + run.skipped.length : 0
  const worst = run.found.some((f) => f.severity === 'error') || run.skipped.length ? 'error' : 'warning'
  return n ? <span class={`count ${worst}`}>{n}</span> : null
}

function Head({ run }: { run: About }) {
  return (
    <section class="head" aria-label="how it stands">
      <div class="title">
        <h1>{run.name}</h1>
        <StateBadge state={run.state} />
        <span class="mute">
          {run.task} · {run.model}
        </span>
        <span class="grow" />
        <Stop run={run} />
      </div>
      {run.why && <p class="poor">{run.why}</p>}
      <div class="stand">
        <Score run={run} />
        <div class="fact">
          <small>progress</small>
          <Progress run={run} />
        </div>
        <div class="fact">
          <small>epoch</small>
          <b>{run.steps_per_epoch ? +(run.step / run.steps_per_epoch).toFixed(1) : '–'}</b>
        </div>
        <div class="fact">
          <small>time of the steps</small>
          <b>{duration(run.seconds)}</b>
        </div>
        {run.best_step !== null && (
          <div class="fact">
            <small>best step</small>
            <b>{whole(run.best_step)}</b>
          </div>
        )}
      </div>
      <Verdict run={run} />
      <Noted run={run} />
    </section>
  )
}

function Score({ run }: { run: About }) {
  if (run.score === null) return null
  const interval = run.ended?.intervals[`${run.part}/${run.monitor}`]
  return (
    <div class="fact wide">
      <small>
        {run.part} {run.monitor}
      </small>
      <b class="big">{number(run.score)}</b>
      {interval && (
        <small title="95 % interval, by bootstrap">
          [{number(interval[0])}, {number(interval[1])}]
        </small>
      )}
    </div>
  )
}

/** What may be believed of the difference to the simple models. */
function Verdict({ run }: { run: About }) {
  if (!run.ended) return null
  const { differences, baselines, reason, outcome } = run.ended
  const said = Object.entries(baselines)
    .filter(([, of]) => run.monitor in of)
    .map(([name, of]) => judged(name, of[run.monitor]!, differences[name]?.[run.monitor], run.better))
  return (
    <p class="verdict">
      {said.map((s) => (
        <span key={s.text} class={`tag ${s.kind}`} title={s.title}>
          {s.sign} {s.text}
        </span>
      ))}
      {outcome !== 'finished' && (
        <span class={`tag ${outcome === 'failed' ? 'poor' : ''}`}>
          {outcome}: {reason}
        </span>
      )}
    </p>
  )
}

/** Only where the studio was opened with control. */
function Stop({ run }: { run: About }) {
  const said = useSignal('')
  const { value } = useLoaded((s) => list(s), 'control', 0)
  if (run.state !== 'running' || !value?.control) return null
  const ask = async () => {
    if (!confirm(`Stop ${run.name}? It finishes the step and saves first; \`trainwright resume\` goes on.`)) return
    try {
      said.value = await stop(run.key)
    } catch (error) {
      said.value = (error as Error).message
    }
  }
  return (
    <>
      {said.value && <span role="status">{said.value}</span>}
      <button onClick={ask}>stop</button>
    </>
  )
}

function useKeys(id: string): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const typing = (event.target as HTMLElement).matches('input, select, textarea')
      const tab = TABS[Number(event.key) - 1]
      if (tab && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) go(toRun(id, tab))
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [id])
}
