/** A search: how values and scores go together, which values matter, and every trial. */
import { useSignal, type Signal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { duration, number, whole } from '../format'
import { toRun } from '../place'
import { axisOf, numeric, type Axis } from './axis'
import type { Study, Trial } from './ask'

const [WIDE, TALL, TOP, FOOT] = [960, 300, 34, 18]
const SMALL = { wide: 260, tall: 170, left: 44, foot: 28 }

interface Drawn {
  trial: Trial
  score: number // 0 the worst, 1 the best; NaN where it reached none
}

export function StudyView({ study }: { study: Study }) {
  const here = useSignal(-1)
  const drawn = useMemo(() => scored(study), [study])
  const done = study.trials.filter((t) => t.state === 'finished')
  const best = bestOf(study)
  const states = new Map<string, number>()
  for (const t of study.trials) states.set(t.state, (states.get(t.state) ?? 0) + 1)
  return (
    <>
      <div class="stand">
        <div class="fact">
          <small>trials</small>
          <b>
            {whole(study.trials.length)}
            {study.wanted ? ` of ${whole(study.wanted)}` : ''}
          </b>
        </div>
        {[...states].map(([state, n]) => (
          <div class="fact" key={state}>
            <small>{state}</small>
            <b>{whole(n)}</b>
          </div>
        ))}
        {best && (
          <div class="fact wide">
            <small>best {study.objectives[0]}</small>
            <b class="big">{number(best.reached[0])}</b>
            <small>trial {best.trial}</small>
          </div>
        )}
        <div class="fact">
          <small>sampler</small>
          <b>{study.sampler}</b>
        </div>
        {study.pruner !== 'none' && (
          <div class="fact">
            <small>pruner</small>
            <b>{study.pruner}</b>
          </div>
        )}
        {study.best && <a href={toRun(study.best)}>the best, trained again and scored on the test part</a>}
      </div>
      {study.trials.length > 0 && (
        <>
          <section class="card" aria-label="parallel coordinates">
            <h2>Values and what they reached</h2>
            <Parallel study={study} drawn={drawn} here={here} />
            <p class="mute small" role="status">
              {told(study, here.value)}
            </p>
          </section>
          <section class="card" aria-label="importance">
            <h2>What mattered</h2>
            <Importance study={study} />
          </section>
          <section class="card" aria-label="each value">
            <h2>Each value by itself</h2>
            <div class="scatters">
              {study.space.map((span) => (
                <Against key={span.key} study={study} name={span.key} drawn={drawn} here={here} />
              ))}
            </div>
          </section>
        </>
      )}
      <Trials study={study} here={here} best={best} />
      {!study.trials.length && <p class="mute">No trial has ended yet.</p>}
      {done.length > 0 && !study.ended && <p class="mute">The search goes on; this page follows it.</p>}
    </>
  )
}

function scored(study: Study): Drawn[] {
  const sign = study.better[0] === 'higher' ? 1 : -1
  const found = study.trials.map((trial) => ({ trial, value: trial.reached[0] == null ? NaN : trial.reached[0] * sign }))
  const order = found.map((f) => f.value).filter(isFinite).sort((a, b) => a - b)
  const rank = (v: number) => (order.length < 2 ? 1 : order.indexOf(v) / (order.length - 1))
  return found.map(({ trial, value }) => ({ trial, score: isFinite(value) ? rank(value) : NaN })).sort((a, b) => (isNaN(a.score) ? -1 : a.score) - (isNaN(b.score) ? -1 : b.score))
}

function bestOf(study: Study): Trial | undefined {
  const sign = study.better[0] === 'higher' ? 1 : -1
  return study.trials.filter((t) => t.reached[0] != null).sort((a, b) => sign * (b.reached[0]! - a.reached[0]!))[0]
}

/** The better, the nearer to orange; a trial without a score is grey and dashed. */
const paint = (score: number) => (isNaN(score) ? 'var(--mute)' : `color-mix(in oklab, #e2703a ${Math.round(score * 100)}%, var(--acc))`)
const faint = (score: number) => (isNaN(score) ? 0.35 : 0.25 + 0.65 * score ** 2)

function axesOf(study: Study): Axis[] {
  const spans = study.space.map((s) => axisOf(s, study.trials.map((t) => t.values[s.key])))
  const ends = study.objectives.map((name, i) => {
    const seen = study.trials.map((t) => t.reached[i]).filter((v): v is number => v != null)
    const axis = numeric(name, Math.min(...seen), Math.max(...seen))
    return { ...axis, at: (v: unknown) => axis.at(v), name: `${name}${study.better[i] === 'lower' ? ' ↓' : ' ↑'}` }
  })
  return study.trials.some((t) => t.reached[0] != null) ? [...spans, ...ends] : spans
}

function Parallel({ study, drawn, here }: { study: Study; drawn: Drawn[]; here: Signal<number> }) {
  const axes = axesOf(study)
  const x = (i: number) => 70 + (axes.length < 2 ? 0 : (i / (axes.length - 1)) * (WIDE - 140))
  const y = (t: number) => TALL - FOOT - t * (TALL - FOOT - TOP)
  const value = (t: Trial, i: number) => (i < study.space.length ? t.values[study.space[i]!.key] : t.reached[i - study.space.length])
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="parallel coordinates, scrollable">
      <svg class="parallel" viewBox={`0 0 ${WIDE} ${TALL}`} role="img" aria-label={`${study.trials.length} trials over ${axes.map((a) => a.name).join(', ')}; the table below tells each`}>
        {drawn.map(({ trial, score }) => {
          const points = axes.map((a, i) => [x(i), y(a.at(value(trial, i)))] as const).filter(([, v]) => !isNaN(v))
          return (
            <polyline
              key={trial.trial}
              points={points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join(' ')}
              style={{ stroke: paint(score), opacity: here.value < 0 ? faint(score) : here.value === trial.trial ? 1 : 0.08, 'stroke-width': here.value === trial.trial ? '3' : '1.5' }}
              stroke-dasharray={isNaN(score) ? '4 4' : undefined}
              onPointerEnter={() => (here.value = trial.trial)}
              onPointerLeave={() => (here.value = -1)}
            />
          )
        })}
        {axes.map((a, i) => (
          <g key={a.name}>
            <line x1={x(i)} x2={x(i)} y1={TOP} y2={TALL - FOOT} />
            <text class="title" x={x(i)} y={16} text-anchor="middle">
              {a.name}
            </text>
            {a.ticks.map((t) => (
              <text key={t.text} x={x(i) + 5} y={y(t.at) + 4}>
                {t.text}
              </text>
            ))}
          </g>
        ))}
      </svg>
    </div>
  )
}

function Importance({ study }: { study: Study }) {
  const shares = Object.entries(study.importance).sort((a, b) => b[1] - a[1])
  if (!shares.length)
    return <p class="mute">{study.ended ? 'Too few trials finished to say.' : 'This is told when the search has ended: the share of the differences between scores that each value explains.'}</p>
  return (
    <table class="bars">
      <tbody>
        {shares.map(([name, share]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td class="lane">
              <i style={{ width: `${share * 100}%` }} />
            </td>
            <td>{Math.round(share * 100)} %</td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function Against({ study, name, drawn, here }: { study: Study; name: string; drawn: Drawn[]; here: Signal<number> }) {
  const span = study.space.find((s) => s.key === name)!
  const axes = axesOf(study)
  const across = axes[study.space.indexOf(span)]!
  const up = axes[study.space.length]
  if (!up) return null
  const { wide, tall, left, foot } = SMALL
  const x = (t: number) => left + t * (wide - left - 14)
  const y = (t: number) => tall - foot - t * (tall - foot - 12)
  return (
    <svg viewBox={`0 0 ${wide} ${tall}`} role="img" aria-label={`${name} against ${study.objectives[0]}`}>
      {[0, 1].map((t) => (
        <g key={t}>
          <line x1={left} x2={wide - 14} y1={y(t)} y2={y(t)} />
          <text x={left - 4} y={y(t) + 4} text-anchor="end">
            {up.ticks[t * 2]!.text}
          </text>
        </g>
      ))}
      {across.ticks
        .filter((_, i, all) => i === 0 || i === all.length - 1 || all.length < 5)
        .map((t, i) => (
          <text key={i} x={x(t.at)} y={tall - foot + 13} text-anchor={t.at > 0.9 ? 'end' : t.at < 0.1 ? 'start' : 'middle'}>
            {t.text}
          </text>
        ))}
      <text class="title" x={(left + wide) / 2} y={tall - 2} text-anchor="middle">
        {name}
      </text>
      {drawn
        .filter((d) => !isNaN(d.score) && !isNaN(across.at(d.trial.values[name])))
        .map(({ trial, score }) => (
          <circle
            key={trial.trial}
            cx={x(across.at(trial.values[name]))}
            cy={y(up.at(trial.reached[0]))}
            r={here.value === trial.trial ? 6 : 3.5}
            style={{ fill: paint(score) }}
            onPointerEnter={() => (here.value = trial.trial)}
            onPointerLeave={() => (here.value = -1)}
          />
        ))}
    </svg>
  )
}

function told(study: Study, trial: number): string {
  const found = study.trials.find((t) => t.trial === trial)
  if (!found) return 'Orange is good, blue is poor; grey and dashed has no score. Point at a line or a dot.'
  const reached = study.objectives.map((n, i) => `${n} ${number(found.reached[i])}`).join(', ')
  const values = Object.entries(found.values).map(([k, v]) => `${k} ${typeof v === 'number' ? number(v) : v}`)
  return `trial ${trial}, ${found.state}: ${reached}; ${values.join(', ')}`
}

function Trials({ study, here, best }: { study: Study; here: Signal<number>; best: Trial | undefined }) {
  const by = useSignal<string>('trial')
  const keys = study.space.map((s) => s.key)
  const sign = study.better[0] === 'higher' ? -1 : 1
  const rows = study.trials.toSorted((a, b) => {
    if (by.value === 'score') return (a.reached[0] == null ? Infinity : sign * a.reached[0]) - (b.reached[0] == null ? Infinity : sign * b.reached[0])
    return b.trial - a.trial
  })
  if (!rows.length) return null
  return (
    <section class="card" aria-label="trials">
      <div class="tools">
        <h2>Trials</h2>
        <span class="buttons">
          {['trial', 'score'].map((name) => (
            <button key={name} aria-pressed={by.value === name} onClick={() => (by.value = name)}>
              {name === 'trial' ? 'newest first' : 'best first'}
            </button>
          ))}
        </span>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="trials, scrollable">
        <table>
          <thead>
            <tr>
              <th scope="col">trial</th>
              <th scope="col">state</th>
              {study.objectives.map((n) => (
                <th scope="col" key={n}>
                  {n}
                </th>
              ))}
              {keys.map((k) => (
                <th scope="col" key={k}>
                  {k}
                </th>
              ))}
              <th scope="col">steps</th>
              <th scope="col">time</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, 500).map((t) => (
              <tr key={t.trial} class={t === best ? 'best' : ''} onPointerEnter={() => (here.value = t.trial)} onPointerLeave={() => (here.value = -1)}>
                <td>
                  {t.run ? <a href={toRun(t.run)}>{t.trial}</a> : t.trial}
                  {t === best && ' ★'}
                </td>
                <td title={t.why}>{t.state}</td>
                {study.objectives.map((n, i) => (
                  <td key={n}>{number(t.reached[i])}</td>
                ))}
                {keys.map((k) => (
                  <td key={k}>{k in t.values ? (typeof t.values[k] === 'number' ? number(t.values[k] as number) : String(t.values[k])) : ''}</td>
                ))}
                <td>{t.steps === null ? '' : whole(t.steps)}</td>
                <td>{t.seconds === null ? '' : duration(t.seconds)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}
