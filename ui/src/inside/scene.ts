/** The picture: boxes on the graphics card, wires, names and marks over it, one camera for all. */
import { asMatrix, inScene, onScreen, Painter, type Color, type View } from './gl'
import type { Node, Numbers, What } from './ask'
import { layout, type Box, type Frame, type Layout } from './layout'
import type { Shown } from './stops'
import { short } from './words'

export interface Spot {
  node: number
  index: number // of the cell or tile among those that were sent
}

export type Colors = Record<'none' | 'plus' | 'minus' | 'edge', Color> & { ink: string; mark: string; soft: string }

const LABELS = 60
const EASE = 260 // ms of a move of the camera
const NUMBER = 34 // pixels of a cell in which its number is written

export class Scene {
  view: View = { x: 0, y: 0, k: 1, turn: 0, tip: 0 }
  plan!: Layout
  spent = 0 // ms of script of the last frame
  private painter: Painter
  private nodes = new Map<number, Node>()
  private offsets = new Map<string, number>()
  private numbers: Record<What, Numbers> = { value: new Map(), gradient: new Map(), change: new Map() }
  private shown = new Map<number, Shown>()
  private hot = -1
  private phase = 'forward'
  private sources = new Set<number>()
  private colors!: Colors
  private asked = 0
  private moving = 0
  private boxesOf = new Map<number, Box[]>()
  private aspect = 1 // for which the plan was made
  private size: [number, number] = [0, 0] // of the canvas
  private whole = true // nobody moved the camera since the whole was shown
  hover: Spot | null = null
  pinned: Spot | null = null
  lit: Spot[] = []

  constructor(
    private canvas: HTMLCanvasElement,
    private over: HTMLCanvasElement,
    private wires: SVGGElement,
    private names: HTMLElement,
  ) {
    this.painter = new Painter(canvas)
    canvas.addEventListener('webglcontextlost', (e) => e.preventDefault())
    canvas.addEventListener('webglcontextrestored', () => {
      this.painter.prepare()
      this.refresh()
    })
  }

  /** Another step of the same network keeps the camera. */
  load(nodes: Node[], numbers: Record<What, Numbers>) {
    const aspect = this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight)
    const fresh = nodes.map((n) => `${n.id} ${n.op} ${n.shape}`).join() !== [...this.nodes.values()].map((n) => `${n.id} ${n.op} ${n.shape}`).join()
    this.nodes = new Map(nodes.map((n) => [n.id, n]))
    this.numbers = numbers
    let cells = 0
    for (const what of ['value', 'gradient', 'change'] as const)
      for (const [id, { cells: found }] of numbers[what]) {
        this.offsets.set(`${what} ${id}`, cells)
        cells += found.length
      }
    this.painter.hold(cells)
    for (const what of ['value', 'gradient', 'change'] as const)
      for (const [id, { cells: found }] of numbers[what]) this.painter.put(found, this.offsets.get(`${what} ${id}`)!)
    this.painter.upload()
    if (!fresh) return this.refresh()
    this.arrange(aspect)
    this.fit(false)
  }

  /** The canvas has another size: what was shown whole still is, laid out anew where it became much wider or narrower; else
   * its middle stays in the middle. */
  resized() {
    const before = this.size
    this.size = [this.canvas.clientWidth, this.canvas.clientHeight]
    if (!this.plan || !(before[0] || this.whole)) return this.draw()
    if (!this.whole) return this.pan((this.size[0] - before[0]) / 2, (this.size[1] - before[1]) / 2)
    const aspect = this.canvas.clientWidth / Math.max(1, this.canvas.clientHeight)
    if (Math.abs(Math.log(aspect / this.aspect)) > 0.3) {
      this.arrange(aspect)
      this.show(this.shown, this.hot, this.phase)
    }
    this.fit(false)
  }

  private arrange(aspect: number) {
    this.aspect = aspect
    this.plan = layout([...this.nodes.values()], aspect)
    this.boxesOf = new Map()
    for (const b of this.plan.boxes) this.boxesOf.set(b.node, [...(this.boxesOf.get(b.node) ?? []), b])
    this.wires.replaceChildren(
      ...this.plan.wires.map((w) => {
        const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
        path.setAttribute('d', w.path)
        path.setAttribute('vector-effect', 'non-scaling-stroke')
        return path
      }),
    )
  }

  show(shown: Map<number, Shown>, hot: number, phase: string) {
    this.shown = shown
    this.hot = hot
    this.phase = phase
    this.sources = new Set(this.nodes.get(hot)?.reads ?? [])
    this.plan.wires.forEach((w, i) => {
      const path = this.wires.children[i]!
      const on = phase === 'backward' ? w.from === hot || w.to === hot : w.to === hot
      path.setAttribute('class', on && phase !== 'update' ? `on ${phase}` : '')
    })
    this.refresh()
  }

  paint(colors: Colors) {
    this.colors = colors
    this.draw()
  }

  /** The look of every box, and a frame. */
  refresh() {
    if (!this.plan) return
    this.painter.boxes(this.plan.boxes, (b) => {
      const { what, there } = this.shown.get(b.node) ?? { what: 'value' as const, there: 1 }
      const found = this.numbers[what].get(b.node) ?? this.numbers.value.get(b.node)
      const kind = this.numbers[what].has(b.node) ? what : 'value'
      const hot = b.node === this.hot ? 1 : this.sources.has(b.node) ? 0.5 : 0
      return [(this.offsets.get(`${kind} ${b.node}`) ?? 0) + b.from, found?.scale ? 1 / found.scale : 0, there, hot]
    })
    this.draw()
  }

  draw() {
    if (this.asked || !this.plan || !this.colors) return
    this.asked = requestAnimationFrame(() => {
      this.asked = 0
      this.frame()
    })
  }

  /** One frame; says how many milliseconds of script it took. */
  frame(): number {
    const began = performance.now()
    this.painter.draw(this.view, this.colors)
    this.wires.setAttribute('transform', asMatrix(this.view))
    this.label()
    this.mark()
    this.spent = performance.now() - began
    return this.spent
  }

  get draws() {
    return this.painter.draws
  }

  /** The whole, or some tensors, in the middle. */
  fit(ease = true, frames?: Iterable<Frame>, most = 6) {
    this.whole = !frames
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight]
    const { turn, tip } = this.view
    const flat = { x: 0, y: 0, k: 1, turn, tip }
    const [us, vs]: [number[], number[]] = [[], []]
    for (const f of frames ?? this.plan.frames.values())
      for (const [x, y] of [[f.x, f.y], [f.x + f.w, f.y], [f.x, f.y + f.h], [f.x + f.w, f.y + f.h]]) {
        const [u, v] = onScreen(flat, x!, y!)
        us.push(u)
        vs.push(v)
      }
    const [left, right, top, bottom] = [Math.min(...us), Math.max(...us), Math.min(...vs), Math.max(...vs)]
    const k = Math.min(most, (w - 56) / (right - left), (h - 84) / (bottom - top)) // the legend stands below
    this.go({ x: w / 2 - (k * (left + right)) / 2, y: h / 2 + 5 - (k * (top + bottom)) / 2, k, turn, tip }, ease)
  }

  /** A tensor with what it was made of. */
  follow(id: number) {
    const node = this.nodes.get(id)
    if (!node) return
    const row = this.plan.frames.get(id)?.row
    const found = [id, ...node.reads].map((n) => this.plan.frames.get(n)).filter((f): f is Frame => !!f && f.row === row)
    if (found.length) this.fit(true, found, 2.6)
  }

  go(to: View, ease = true) {
    cancelAnimationFrame(this.moving)
    const from = { ...this.view }
    const still = !ease || matchMedia('(prefers-reduced-motion: reduce)').matches
    if (still) {
      this.view = to
      return this.draw()
    }
    const began = performance.now()
    const move = () => {
      const t = Math.min(1, (performance.now() - began) / EASE)
      const s = t * t * (3 - 2 * t)
      for (const name of ['x', 'y', 'k', 'turn', 'tip'] as const) this.view[name] = from[name] + (to[name] - from[name]) * s
      this.draw()
      if (t < 1) this.moving = requestAnimationFrame(move)
    }
    move()
  }

  tilt(on: boolean) {
    this.view = { ...this.view, turn: on ? -0.42 : 0, tip: on ? 0.5 : 0 }
    this.fit(false)
  }

  pan(dx: number, dy: number) {
    this.whole = false
    cancelAnimationFrame(this.moving)
    this.view = { ...this.view, x: this.view.x + dx, y: this.view.y + dy }
    this.draw()
  }

  zoom(factor: number, u: number, v: number) {
    this.whole = false
    cancelAnimationFrame(this.moving)
    const k = Math.min(80, Math.max(0.03, this.view.k * factor))
    const f = k / this.view.k
    this.view = { ...this.view, k, x: u - (u - this.view.x) * f, y: v - (v - this.view.y) * f }
    this.draw()
  }

  /** The cell under a point of the screen. */
  pick(u: number, v: number): Spot | null {
    if (!this.plan) return null
    const [x, y] = inScene(this.view, u, v)
    for (const b of this.plan.boxes) {
      if (x < b.x || y < b.y || x >= b.x + b.w || y >= b.y + b.h) continue
      const [right, down] = b.turned ? [b.rows, b.cols] : [b.cols, b.rows]
      const [i, j] = [Math.floor(((x - b.x) / b.w) * right), Math.floor(((y - b.y) / b.h) * down)]
      return { node: b.node, index: b.from + (b.turned ? i * b.cols + j : j * b.cols + i) }
    }
    return null
  }

  /** Where a cell is drawn: [x, y, w, h] in the scene. */
  placeOf(spot: Spot): [number, number, number, number] | null {
    const boxes = this.boxesOf.get(spot.node)
    if (!boxes?.length) return null
    const size = boxes[0]!.rows * boxes[0]!.cols
    const b = boxes[Math.floor(spot.index / size)]
    if (!b) return null
    const [row, col] = [Math.floor((spot.index % size) / b.cols), spot.index % b.cols]
    const [i, j] = b.turned ? [row, col] : [col, row]
    const [w, h] = b.turned ? [b.w / b.rows, b.h / b.cols] : [b.w / b.cols, b.h / b.rows]
    return [b.x + i * w, b.y + j * h, w, h]
  }

  /** The number at a spot, as it is drawn now. */
  numberAt(spot: Spot): number {
    const what = this.shown.get(spot.node)?.what ?? 'value'
    return this.numbers[what].get(spot.node)?.cells[spot.index] ?? NaN
  }

  /** A step to the neighbour on the screen. */
  beside(spot: Spot, dx: number, dy: number): Spot {
    const at = this.placeOf(spot)
    if (!at) return spot
    for (const b of this.boxesOf.get(spot.node) ?? []) {
      const [x, y] = [at[0] + at[2] / 2 + dx * (at[2] + (dx ? 0 : 0)), at[1] + at[3] / 2 + dy * at[3]]
      if (x >= b.x && y >= b.y && x < b.x + b.w && y < b.y + b.h) {
        const [right, down] = b.turned ? [b.rows, b.cols] : [b.cols, b.rows]
        const [i, j] = [Math.floor(((x - b.x) / b.w) * right), Math.floor(((y - b.y) / b.h) * down)]
        return { node: b.node, index: b.from + (b.turned ? i * b.cols + j : j * b.cols + i) }
      }
    }
    return spot
  }

  /** Whether a spot can be seen. */
  sees(spot: Spot): boolean {
    const at = this.placeOf(spot)
    if (!at) return false
    const [u, v] = onScreen(this.view, at[0], at[1])
    return u > 8 && v > 8 && u < this.canvas.clientWidth - 8 && v < this.canvas.clientHeight - 8
  }

  private label() {
    const wanted: { text: string; u: number; v: number; head: boolean; hot: boolean; room: number; rank: number }[] = []
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight]
    const few = this.plan.frames.size < 45 && this.view.k > 1
    for (const { text, x, y } of this.plan.headings) {
      const [u, v] = onScreen(this.view, x, y)
      wanted.push({ text, u, v, head: true, hot: false, room: 400, rank: 0 })
    }
    for (const [id, f] of this.plan.frames) {
      const node = this.nodes.get(id)!
      const wide = f.w * this.view.k
      const hot = id === this.hot
      const weight = node.kind === 'weight'
      if (!hot && (node.kind === 'constant' || (weight && node.shape.length < 2))) continue
      if (!hot && !few && wide < (weight ? 110 : 26)) continue
      if (!hot && weight && node.title.length * 6.1 > wide * 1.25) continue
      const [u, v] = onScreen(this.view, f.x, f.y)
      wanted.push({ text: node.title, u, v: v - 2, head: false, hot, room: wide + 10, rank: node.kind === 'weight' ? 1 : 0 })
    }
    wanted.sort((a, b) => Number(b.hot) - Number(a.hot) || Number(b.head) - Number(a.head) || a.rank - b.rank)
    const taken: [number, number, number][] = []
    let used = 0
    for (const label of wanted) {
      const long = label.text.length * (label.head ? 7.4 : 6.1)
      const wide = long
      if (label.u + wide < 0 || label.u > w || label.v < 8 || label.v > h + 14 || used >= LABELS) continue
      if (!label.hot && !label.head && !few && long > label.room * 2.4) continue
      if (taken.some(([u, v, l]) => Math.abs(v - label.v) < 13 && label.u < u + l && u < label.u + wide)) continue
      taken.push([label.u, label.v, wide + 4])
      const span = (this.names.children[used] ?? this.names.appendChild(document.createElement('span'))) as HTMLElement
      if (span.textContent !== label.text) span.textContent = label.text
      span.className = label.hot ? 'hot' : label.head ? 'head' : ''
      span.style.transform = `translate(${Math.round(label.u)}px,${Math.round(label.v)}px)`
      span.hidden = false
      used += 1
    }
    for (let i = used; i < this.names.children.length; i++) (this.names.children[i] as HTMLElement).hidden = true
  }

  private mark() {
    const pen = this.over.getContext('2d')!
    const ratio = devicePixelRatio || 1
    const [w, h] = [this.canvas.clientWidth, this.canvas.clientHeight]
    if (this.over.width !== Math.round(w * ratio) || this.over.height !== Math.round(h * ratio))
      [this.over.width, this.over.height] = [Math.round(w * ratio), Math.round(h * ratio)]
    pen.setTransform(ratio, 0, 0, ratio, 0, 0)
    pen.clearRect(0, 0, w, h)
    this.write(pen, w, h)
    for (const spot of this.lit) this.outline(pen, spot, this.colors.soft, 1.5)
    if (this.hover) this.outline(pen, this.hover, this.colors.ink, 1.5)
    if (this.pinned) this.outline(pen, this.pinned, this.colors.mark, 2.5)
  }

  private outline(pen: CanvasRenderingContext2D, spot: Spot, color: string, wide: number) {
    const at = this.placeOf(spot)
    if (!at) return
    const [x, y, w, h] = at
    const least = 5 / this.view.k // so that a small one is seen
    const [a, b] = [Math.max(0, least - w) / 2, Math.max(0, least - h) / 2]
    pen.strokeStyle = color
    pen.lineWidth = wide
    pen.beginPath()
    for (const [u, v] of [[x - a, y - b], [x + w + a, y - b], [x + w + a, y + h + b], [x - a, y + h + b]]) pen.lineTo(...onScreen(this.view, u!, v!))
    pen.closePath()
    pen.stroke()
  }

  /** Numbers into cells that have room for them. */
  private write(pen: CanvasRenderingContext2D, w: number, h: number) {
    if (this.view.turn || this.view.tip || this.view.k < 2) return
    const [left, top] = inScene(this.view, 0, 0)
    const [right, bottom] = inScene(this.view, w, h)
    pen.font = '10px system-ui, sans-serif'
    pen.textAlign = 'center'
    pen.textBaseline = 'middle'
    let left_ = 700
    for (const b of this.plan.boxes) {
      const [n, m] = b.turned ? [b.rows, b.cols] : [b.cols, b.rows]
      const [cw, ch] = [b.w / n, b.h / m]
      if (cw * this.view.k < NUMBER || ch * this.view.k < 13 || b.x > right || b.y > bottom || b.x + b.w < left || b.y + b.h < top) continue
      const { what, there } = this.shown.get(b.node) ?? { what: 'value' as const, there: 1 }
      const found = this.numbers[what].get(b.node) ?? this.numbers.value.get(b.node)
      if (!found || there < 0.3) continue
      for (let i = Math.max(0, Math.floor((left - b.x) / cw)); i < Math.min(n, (right - b.x) / cw); i++)
        for (let j = Math.max(0, Math.floor((top - b.y) / ch)); j < Math.min(m, (bottom - b.y) / ch); j++) {
          if (left_-- <= 0) return
          const v = found.cells[b.from + (b.turned ? i * b.cols + j : j * b.cols + i)]!
          const [u, t] = onScreen(this.view, b.x + (i + 0.5) * cw, b.y + (j + 0.5) * ch)
          pen.fillStyle = this.colors.ink
          pen.fillText(short(v), u, t)
        }
    }
  }
}
