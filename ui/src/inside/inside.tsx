/** The inside of the run's own network: one step of it, walked through with its real numbers. */
import { batch, useComputed, useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { About } from '../api'
import { number, whole } from '../format'
import { useLoaded } from '../loaded'
import { Empty } from '../parts'
import { place, toInside } from '../place'
import { isDark } from '../theme'
import * as ask from './ask'
import { Card, spread } from './card'
import { Own } from './own'
import { Plane } from './plane'
import { Scene, type Colors, type Spot } from './scene'
import { PHASES, shownAt, stopsOf, TOLD, type Phase } from './stops'
import { tourOf } from './tour'
import { exact, token } from './words'

const COLORS: Record<'dark' | 'light', Colors> = {
  dark: { none: [0.13, 0.16, 0.2], plus: [1, 0.6, 0.2], minus: [0.3, 0.6, 1], edge: [0.8, 0.86, 0.93], ink: '#e6ecf2', mark: '#ffd166', soft: '#c8f0d2' },
  light: { none: [0.955, 0.962, 0.972], plus: [0.84, 0.38, 0], minus: [0.08, 0.33, 0.72], edge: [0.16, 0.21, 0.27], ink: '#17212b', mark: '#b3005e', soft: '#0b7a3b' },
}
const PACE = [1400, 700, 350, 150, 60] // ms of a stop

export function Inside({ run, turn }: { run: About; turn: number }) {
  const { value: outline, error } = useLoaded((s) => ask.outline(run.key, s), run.key, turn)
  if (error && !outline) return <Closed run={run} why={error.message} />
  if (!outline) return <p class="opening">opening the network …</p>
  if (outline.closed) return <Closed run={run} why={outline.closed} />
  if (!outline.steps.length)
    return <Empty title="No checkpoint yet">The inside opens with the first one.</Empty>
  return <Looked run={run} outline={outline} />
}

/** Why it cannot be opened, and what opens it. */
function Closed({ run, why }: { run: About; why: string }) {
  const own = why.includes('module of your own')
  return (
    <Empty title={own ? 'The code of this network is yours alone' : 'The inside cannot be opened'}>
      <p>{why}</p>
      {own && (
        <>
          <p>The studio runs no program that a run folder names. It shows what was captured while the module trained, a few samples with every number:</p>
          <pre>{'tw.fit(net, (x, y), loss="cross_entropy", captures=2)'}</pre>
          <p>Networks by name can be opened whole: the same layers as a recipe,</p>
          <pre>{'model = { name = "sequential", layers = [{ name = "dense", units = 64 }, "relu"] }'}</pre>
          <p>and in Python your own opens with its module:</p>
          <pre>{`run = tw.open("${run.name}", model=net)\nrun.predict(x)`}</pre>
        </>
      )}
    </Empty>
  )
}

function Looked({ run, outline }: { run: About; outline: ask.Outline }) {
  const parts = Object.keys(outline.parts)
  const at = useSignal<ask.At>(asked(outline, parts))
  const question = `${run.key} ${JSON.stringify(at.value)}`
  const { value, error } = useLoaded(
    async (stop) => {
      const step = await ask.step(run.key, at.value, stop)
      const [v, gradient, change] = await Promise.all((['value', 'gradient', 'change'] as const).map((what) => ask.numbers(run.key, at.value, what, stop)))
      return { step, numbers: { value: v!, gradient: gradient!, change: change! }, at: at.value }
    },
    question,
    0,
  )
  if (error && !value) return <Closed run={run} why={error.message} />
  const count = outline.parts[at.value.part!] ?? 1
  const move = (to: Partial<ask.At>) => (at.value = { ...at.value, ...to })
  return (
    <div class="inside">
      <div class="tools">
        <label>
          checkpoint
          <input type="range" aria-label="checkpoint" min={0} max={outline.steps.length - 1} value={outline.steps.indexOf(at.value.step!)} disabled={outline.steps.length < 2}
            onInput={(e) => move({ step: outline.steps[Number(e.currentTarget.value)]! })} />
          <output>{at.value.step === 0 ? 'before the first step' : `step ${whole(at.value.step!)}`}</output>
        </label>
        <label>
          <span class="unseen">part</span>
          <select value={at.value.part!} onChange={(e) => move({ part: e.currentTarget.value, sample: 0 })}>
            {parts.map((p) => (
              <option key={p}>{p}</option>
            ))}
          </select>
        </label>
        <span class="sample">
          <button aria-label="sample before" disabled={at.value.sample < 1} onClick={() => move({ sample: at.value.sample - 1 })}>‹</button>
          <label>
            sample
            <input type="number" min={0} max={count - 1} value={at.value.sample} onChange={(e) => move({ sample: Math.min(count - 1, Math.max(0, Number(e.currentTarget.value) || 0)) })} />
          </label>
          <button aria-label="next sample" disabled={at.value.sample >= count - 1} onClick={() => move({ sample: at.value.sample + 1 })}>›</button>
          <span class="mute">of {whole(count)}</span>
        </span>
        {outline.writes && <Own id={run.key} text={at.value.text} seen={value?.step.tokens ?? []} onText={(text) => move({ text })} />}
        {value && <Verdict step={value.step} />}
        {error && value && <span class="poor" role="alert">{error.message}</span>}
      </div>
      {value ? <Stage id={run.key} {...value} /> : <p class="opening">taking the step …</p>}
      <p class="small mute">
        {value && `One step for this sample alone, from the checkpoint's own weights and ${value.step.optimizer || 'optimizer'} state, at its rate; nothing is dropped out, and the run is not touched. `}
        {value && value.step.difference <= 1e-4 * Math.max(1, Math.abs(Number(value.step.loss))) ? 'The loss is that of the plain network. ' : ''}
        {outline.notes.join('. ')}
        {outline.captured ? `. With the module at hand, tw.open("${run.name}", model=net).predict(x) answers for any other sample.` : outline.steps.length < 3 && ' To watch weights learn from checkpoint to checkpoint, train with keep_every = "1 epoch".'}
      </p>
    </div>
  )
}

/** What the address asks for: a step, a part, a sample; else the last checkpoint and the first sample of the test part. */
function asked(outline: ask.Outline, parts: string[]): ask.At {
  const query = place.value.at === 'run' ? place.value.query : new URLSearchParams()
  const usual = parts.includes('test') ? 'test' : parts[parts.length - 1]!
  const part = parts.find((p) => p === query.get('part')) ?? usual
  const step = outline.steps.find((s) => String(s) === query.get('step')) ?? outline.steps[outline.steps.length - 1]!
  const sample = Math.min(Math.max(0, Math.floor(Number(query.get('sample')) || 0)), (outline.parts[part] ?? 1) - 1)
  return { step, part, sample, text: outline.writes ? (query.get('text') ?? '') : '' }
}

/** The address says what is looked at, so that it can be kept, sent and gone back to; no view is opened anew by it. */
function remember(id: string, { step, part, sample, text }: ask.At, more: Record<string, number>): void {
  const told = { step: step!, part: part!, sample, ...(text ? { text } : {}), ...more }
  history.replaceState(null, '', toInside(id, told))
}

function Verdict({ step }: { step: ask.Step }) {
  const one = step.truth.length === 1
  return (
    <span class="verdict" role="status">
      {step.said && <span class={`tag ${one && step.classes.length ? (step.said.replace(/ \([\d.]+%\)$/, '') === step.truth[0] ? 'good' : 'poor') : ''}`}>says {step.said}</span>}
      {one && <span class="tag">true {step.truth[0]}</span>}
      <span class="tag" title="the loss of this sample, and after the update">
        loss {number(step.loss)}
        {step.finite && ` → ${number(step.after)}`}
      </span>
    </span>
  )
}

interface Seen {
  id: string
  step: ask.Step
  numbers: Record<ask.What, ask.Numbers>
  at: ask.At
}

function Stage({ id, step, numbers, at }: Seen) {
  const canvas = useRef<HTMLCanvasElement>(null)
  const over = useRef<HTMLCanvasElement>(null)
  const wires = useRef<SVGGElement>(null)
  const names = useRef<HTMLDivElement>(null)
  const scene = useRef<Scene | null>(null)
  const broken = useSignal('')
  const spot = useSignal(0)
  const playing = useSignal(false)
  const pace = useSignal(1)
  const following = useSignal(false)
  const deep = useSignal(false)
  const pinned = useSignal<Spot | null>(null)
  const hovered = useSignal<Spot | null>(null)
  const wanted = useSignal<ask.What | null>(null)
  const cell = useSignal<ask.Cell | null>(null)
  const trail = useSignal<Spot[]>([])
  const touring = useSignal(-1)
  const stops = useMemo(() => stopsOf(step.nodes), [step])
  const tour = useMemo(() => tourOf(step), [step])
  const known = useMemo(() => new Map(step.nodes.map((n) => [n.id, n])), [step])
  const now = stops[Math.min(spot.value, stops.length - 1)]!
  const node = known.get(now.node)!
  const shown = useMemo(() => shownAt(step.nodes, stops, Math.min(spot.value, stops.length - 1)), [step, spot.value])

  useEffect(() => {
    try {
      scene.current = new Scene(canvas.current!, over.current!, wires.current!, names.current!)
    } catch (error) {
      broken.value = (error as Error).message
      return
    }
    scene.current.paint(COLORS[isDark.value ? 'dark' : 'light'])
    const watch = new ResizeObserver(() => scene.current?.resized())
    watch.observe(canvas.current!)
    return () => watch.disconnect()
  }, [])
  useEffect(() => {
    scene.current?.load(step.nodes, numbers)
    if (deep.value) scene.current?.tilt(true)
    ;(canvas.current as unknown as Record<string, unknown>)['scene'] = scene.current
  }, [step, numbers])
  useEffect(() => scene.current?.paint(COLORS[isDark.value ? 'dark' : 'light']), [isDark.value])
  useEffect(() => {
    scene.current?.show(shown, now.node, now.phase)
    if (following.value || touring.value >= 0) scene.current?.follow(now.node)
  }, [shown, step, numbers])
  useEffect(() => {
    if (!playing.value) return
    const timer = setTimeout(() => {
      if (spot.value + 1 < stops.length) spot.value += 1
      else playing.value = false
    }, PACE[pace.value])
    return () => clearTimeout(timer)
  }, [playing.value, spot.value, pace.value])

  // the cell under the pointer, or the one that is held
  const looked = pinned.value ?? hovered.value
  const what: ask.What = (() => {
    const n = looked && known.get(looked.node)
    if (!n) return 'value'
    const asked = pinned.value && wanted.value ? wanted.value : (shown.get(n.id)?.what ?? 'value')
    return asked === 'value' || n[asked] ? asked : 'value'
  })()
  useEffect(() => {
    const s = scene.current
    if (s) {
      s.hover = hovered.value
      s.pinned = pinned.value
      s.lit = []
      s.draw()
    }
    if (!looked) {
      cell.value = null
      return
    }
    const stop = new AbortController()
    const timer = setTimeout(async () => {
      try {
        const told = await ask.cell(id, at, whereOf(known.get(looked.node)!, looked.index), what, stop.signal)
        if (stop.signal.aborted) return
        cell.value = told
        if (scene.current) {
          scene.current.lit = told.terms.flatMap((t) => t.cells).filter(([n]) => known.has(n)).map(([n, c]) => spotOf(known.get(n)!, c))
          scene.current.draw()
        }
      } catch {
        if (!stop.signal.aborted) cell.value = null
      }
    }, pinned.value ? 0 : 70)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [looked?.node, looked?.index, what, step])

  useEffect(() => remember(id, at, pinned.value ? { node: pinned.value.node, cell: pinned.value.index } : {}), [at, pinned.value])
  useEffect(() => {
    const wanted = place.value.at === 'run' ? place.value.query : new URLSearchParams()
    const to = known.get(Number(wanted.get('node') ?? NaN))
    const flat = Number(wanted.get('cell'))
    if (!to || pinned.value || !(flat >= 0)) return
    pinned.value = { node: to.id, index: Math.min(Math.floor(flat), to.slabs * to.rows * to.cols - 1) }
    scene.current?.follow(to.id)
  }, [])

  const pin = (to: Spot | null) =>
    batch(() => {
      pinned.value = to
      wanted.value = null
      if (!to) trail.value = []
    })
  const walk = (to: number, flat: number) => {
    const n = known.get(to)
    if (!n) return
    if (pinned.value) trail.value = [...trail.value, pinned.value]
    pinned.value = spotOf(n, flat)
    if (scene.current && !scene.current.sees(pinned.value)) scene.current.follow(to)
  }
  const back = () => {
    const before = trail.value[trail.value.length - 1]
    if (!before) return pin(null)
    batch(() => {
      trail.value = trail.value.slice(0, -1)
      pinned.value = before
    })
    if (scene.current && !scene.current.sees(before)) scene.current.follow(before.node)
  }
  const goTo = (phase: Phase, to: number) => {
    const found = stops.findIndex((s) => s.phase === phase && (to < 0 || s.node === to))
    const first = stops.findIndex((s) => s.phase === phase)
    spot.value = Math.max(0, found >= 0 ? found : first)
  }
  const halt = (to: number) => {
    touring.value = to
    playing.value = false
    const stop = tour[to]
    if (!stop) return
    const of = known.get(stop.node)
    if (!of) {
      spot.value = 0
      scene.current?.fit()
    } else if (of.kind === 'data') {
      spot.value = 0
      scene.current?.follow(of.id)
    } else {
      goTo(stop.phase, stop.node)
      scene.current?.follow(of.id)
    }
  }
  const keys = (e: KeyboardEvent) => {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key]
    if (arrow && pinned.value && scene.current) pin(scene.current.beside(pinned.value, arrow[0]!, arrow[1]!))
    else if (arrow) spot.value = Math.min(stops.length - 1, Math.max(0, spot.value + (arrow[0]! || arrow[1]!)))
    else if (e.key === ' ') playing.value = !playing.value
    else if (e.key === 'Enter') {
      const to = cell.value?.terms[0]?.cells[0]
      if (pinned.value && to && to[0] >= 0) walk(to[0], to[1])
      else if (!pinned.value) pin({ node: now.node, index: 0 })
    } else if (e.key === 'Backspace') back()
    else if (e.key === 'Escape' && pinned.value) pin(null)
    else if (e.key === '+' || e.key === '-') scene.current?.zoom(e.key === '+' ? 1.3 : 1 / 1.3, canvas.current!.clientWidth / 2, canvas.current!.clientHeight / 2)
    else if (e.key === '0') scene.current?.fit()
    else return
    e.preventDefault()
    e.stopPropagation()
  }
  const drag = usePointers(canvas, scene, hovered, (s) => {
    trail.value = []
    pin(s)
  })
  const segments = useComputed(() => (['forward', 'loss', 'backward', 'update'] as const).map((phase) => ({ phase, share: stops.filter((s) => s.phase === phase).length / stops.length })))
  const halted = tour[touring.value]
  const weights = node.reads.map((r) => known.get(r)).filter((n) => n && n.id !== node.id) as ask.Node[]
  return (
    <>
      <div class="tools player">
        <button class="main" onClick={() => { if (!playing.value && spot.value >= stops.length - 1) spot.value = 0; touring.value = -1; playing.value = !playing.value }} aria-pressed={playing.value}>
          {playing.value ? '❚❚ pause' : '▶ play'}
        </button>
        <button aria-label="one operation back" onClick={() => (spot.value = Math.max(0, spot.value - 1))}>◀</button>
        <button aria-label="one operation on" onClick={() => (spot.value = Math.min(stops.length - 1, spot.value + 1))}>▶</button>
        <div class="track">
          <div class="phases">
            {segments.value.filter((s) => s.share).map((s) => (
              <button key={s.phase} class={s.phase} style={{ flexGrow: Math.max(s.share, 0.13) }} aria-pressed={now.phase === s.phase} onClick={() => goTo(s.phase, -1)}>
                {PHASES[s.phase]}
              </button>
            ))}
          </div>
          <input type="range" aria-label="operation" aria-valuetext={`${PHASES[now.phase]}: ${node.title}`} min={0} max={stops.length - 1} value={spot.value} onInput={(e) => { playing.value = false; spot.value = Number(e.currentTarget.value) }} />
        </div>
        <label title="pace">
          <span class="unseen">pace</span>
          <input class="pace" type="range" aria-label="pace" min={0} max={PACE.length - 1} value={pace.value} onInput={(e) => (pace.value = Number(e.currentTarget.value))} />
        </label>
        <span class="buttons">
          <button aria-pressed={following.value} onClick={() => { following.value = !following.value; if (following.value) scene.current?.follow(now.node) }}>follow</button>
          <button onClick={() => { following.value = false; scene.current?.fit() }}>whole</button>
          <button aria-pressed={deep.value} onClick={() => { deep.value = !deep.value; scene.current?.tilt(deep.value) }}>3-D</button>
        </span>
        <button aria-pressed={touring.value >= 0} onClick={() => (touring.value >= 0 ? (touring.value = -1) : halt(0))}>tour</button>
      </div>
      <div class="look">
        <div class="stage">
          {broken.value ? (
            <div class="empty">
              <p>
                <b>This browser draws no WebGL2</b>
              </p>
              <p>The picture needs it: switch hardware acceleration on, or open the studio in a current browser. The numbers of each tensor can be read at the side all the same.</p>
            </div>
          ) : (
            <>
              <svg aria-hidden="true">
                <g ref={wires} />
              </svg>
              <canvas ref={canvas} tabIndex={0} role="application" onKeyDown={keys} {...drag}
                aria-label={`${step.nodes.length} tensors. Arrow keys: from operation to operation. Enter: hold a cell, then its largest input. Backspace: back. Escape: let go.`} />
              <canvas ref={over} class="over" aria-hidden="true" />
              <div ref={names} class="names" aria-hidden="true" />
              <Legend />
            </>
          )}
        </div>
        <aside aria-label="what is shown">
          {halted ? (
            <section class="halt" aria-live="polite">
              <small class="mute">stop {touring.value + 1} of {tour.length}</small>
              <h2>{halted.title}</h2>
              <p>{halted.text}</p>
              <p class="buttons">
                <button disabled={touring.value < 1} onClick={() => halt(touring.value - 1)}>back</button>
                <button class="main" onClick={() => (touring.value + 1 < tour.length ? halt(touring.value + 1) : (touring.value = -1))}>{touring.value + 1 < tour.length ? 'next' : 'end'}</button>
              </p>
            </section>
          ) : (
            <section>
              <h2>
                <span class={`phase ${now.phase}`}>{PHASES[now.phase]}</span> {node.title}
              </h2>
              <p>{now.phase === 'forward' || now.phase === 'loss' ? node.words : TOLD[now.phase]}</p>
              <p class="small mute">
                {node.name && `${node.name} · `}
                {node.shape.join(' × ') || 'one number'}
                {weights.length > 0 && now.phase !== 'update' && ' · from '}
                {now.phase !== 'update' && weights.map((n, i) => (
                  <span key={n.id}>
                    {i > 0 && ', '}
                    <button class="factor" onClick={() => pin({ node: n.id, index: 0 })}>{n.title}</button>
                  </span>
                ))}
              </p>
            </section>
          )}
          <Tokens step={step} numbers={numbers.value} />
          <label class="choose">
            <span class="unseen">tensor</span>
            <select aria-label="tensor" value={pinned.value?.node ?? ''} onChange={(e) => { const to = e.currentTarget.value; if (to === '') pin(null); else { pin({ node: Number(to), index: 0 }); scene.current?.follow(Number(to)) } }}>
              <option value="">a cell: point at one, or choose a tensor</option>
              {step.nodes.map((n) => (
                <option key={n.id} value={n.id}>{`${n.title}${n.block ? ` (${n.block})` : ''}, ${n.shape.join(' × ') || '1'}`}</option>
              ))}
            </select>
          </label>
          {pinned.value && (
            <p class="buttons held">
              <button onClick={back}>{trail.value.length ? '← where it came from' : '← back'}</button>
              <button onClick={() => pin(null)}>let go</button>
            </p>
          )}
          <div aria-live={pinned.value ? 'polite' : 'off'}>
            {cell.value && known.has(cell.value.node) && <Card cell={cell.value} step={step} walk={walk} choose={(w) => (wanted.value = w)} pinned={!!pinned.value} />}
          </div>
          <Plane id={id} at={at} node={(pinned.value && known.get(pinned.value.node)) || node} here={numbers.value.get(step.nodes.find((n) => n.kind === 'data')?.id ?? -1)?.cells}
            held={pinned.value?.index ?? null} hold={(index) => pin({ node: pinned.value && known.get(pinned.value.node)?.kind === 'value' ? pinned.value.node : node.id, index })} />
        </aside>
      </div>
    </>
  )
}

function Legend() {
  return (
    <p class="legend2" aria-hidden="true">
      <i class="minus" /> below 0 <i class="none" /> 0 <i class="plus" /> above 0
    </p>
  )
}

/** The sentence, each token by how surprising it was. */
function Tokens({ step, numbers }: { step: ask.Step; numbers: ask.Numbers }) {
  const losses = step.nodes.find((n) => n.op === 'cross_entropy')
  const found = losses && numbers.get(losses.id)?.cells
  if (!step.tokens.length) return null
  return (
    <p class="tokens" aria-label="the tokens of the sample">
      {step.tokens.map((t, i) => {
        const surprise = step.truth.length > 1 && i > 0 ? found?.[i - 1] : undefined
        return (
          <span key={i} style={surprise === undefined ? {} : { '--s': Math.min(1, surprise / 5).toFixed(2) }} title={`${token(t)}${surprise === undefined ? '' : `: surprise ${exact(surprise)}`}`}>
            {t.replace(/\n/g, '⏎')}
          </span>
        )
      })}
    </p>
  )
}

/** How a cell is asked for: by its flat number, or by its tile. */
function whereOf(node: ask.Node, index: number): Record<string, number> {
  if (!node.tile) return { node: node.id, cell: index }
  const [down, across] = [Math.ceil(node.rows / node.tile[0]), Math.ceil(node.cols / node.tile[1])]
  const [slab, row, column] = spread(index, [node.slabs, down, across])
  return { node: node.id, slab: slab!, row: row!, column: column! }
}

/** Where a flat cell is drawn. */
function spotOf(node: ask.Node, flat: number): Spot {
  if (!node.tile) return { node: node.id, index: flat }
  const [slab, row, column] = spread(flat, [node.slabs, node.rows, node.cols])
  const [down, across] = [Math.ceil(node.rows / node.tile[0]), Math.ceil(node.cols / node.tile[1])]
  return { node: node.id, index: (slab! * down + Math.floor(row! / node.tile[0])) * across + Math.floor(column! / node.tile[1]) }
}

/** Drag, pinch, wheel, point and hold. */
function usePointers(canvas: { current: HTMLCanvasElement | null }, scene: { current: Scene | null }, hovered: { value: Spot | null }, hold: (spot: Spot | null) => void) {
  const down = useRef(new Map<number, [number, number]>())
  const moved = useRef(0)
  const place = (e: PointerEvent | WheelEvent): [number, number] => {
    const box = canvas.current!.getBoundingClientRect()
    return [e.clientX - box.left, e.clientY - box.top]
  }
  useEffect(() => {
    const wheel = (e: WheelEvent) => {
      e.preventDefault() // a passive listener could not
      scene.current?.zoom(Math.exp(-e.deltaY * 0.0015), ...place(e))
    }
    const to = canvas.current
    to?.addEventListener('wheel', wheel, { passive: false })
    return () => to?.removeEventListener('wheel', wheel)
  }, [])
  return {
    onPointerDown: (e: PointerEvent) => {
      canvas.current!.setPointerCapture(e.pointerId)
      down.current.set(e.pointerId, place(e))
      moved.current = 0
    },
    onPointerMove: (e: PointerEvent) => {
      const [u, v] = place(e)
      const was = down.current.get(e.pointerId)
      if (!was) {
        hovered.value = scene.current?.pick(u, v) ?? null
        return
      }
      const other = [...down.current].find(([id]) => id !== e.pointerId)?.[1]
      moved.current += Math.abs(u - was[0]) + Math.abs(v - was[1])
      if (other) {
        const far = (p: [number, number]) => Math.hypot(p[0] - other[0], p[1] - other[1])
        scene.current?.zoom(far([u, v]) / Math.max(1, far(was)), (u + other[0]) / 2, (v + other[1]) / 2)
      } else if (moved.current > 4) scene.current?.pan(u - was[0], v - was[1])
      down.current.set(e.pointerId, [u, v])
    },
    onPointerUp: (e: PointerEvent) => {
      down.current.delete(e.pointerId)
      if (moved.current <= 4) hold(scene.current?.pick(...place(e)) ?? null)
    },
    onPointerCancel: (e: PointerEvent) => down.current.delete(e.pointerId),
    onPointerLeave: () => {
      if (!down.current.size) hovered.value = null
    },
  }
}
