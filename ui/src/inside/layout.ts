/**
 * Where each tensor stands: time from left to right along one rail, weights left of what they make, blocks in rows.
 *
 * Lengths follow from the number of cells along an axis alone, so that the rows of a weight stand beside the numbers
 * they make. What runs beside the rail and comes back to it by a sum hangs above it (attention) or below.
 */
import type { Node } from './ask'

/** A matrix of cells: a slab of a tensor. */
export interface Box {
  node: number // its id
  slab: number
  x: number
  y: number
  w: number
  h: number
  rows: number // as its cells lie
  cols: number
  turned: boolean // columns run down
  from: number // the first of its cells among those of the node
}

export interface Frame {
  node: number
  x: number
  y: number
  w: number
  h: number
  row: number
  rail: number // where the rail of its row runs
}

export interface Wire {
  from: number
  to: number
  path: string
}

export interface Heading {
  text: string
  x: number
  y: number
}

export interface Layout {
  boxes: Box[]
  frames: Map<number, Frame>
  wires: Wire[]
  headings: Heading[]
  w: number
  h: number
}

const GAP = 16
const NEAR = 4 // between a weight and what it makes
const SLAB = 3 // between slabs
const LANE = 30 // between the rail and what hangs beside it, and between rows
const WIDE = 512 // cells; longer axes grow slowly

/** How long an axis of so many cells is drawn. */
export const length = (n: number) =>
  n <= WIDE ? Math.max(6, 4 * n ** 0.7) : 4 * WIDE ** 0.7 + 40 * Math.log2(n / WIDE)

interface Form {
  slabs: number
  across: number // slabs side by side
  rows: number
  cols: number
  turned: boolean
  w: number
  h: number
}

/** How a tensor is laid out as matrices. */
export function form(node: Node, table: boolean): Form {
  let { slabs, rows, cols } = node
  if (node.tile) [rows, cols] = [Math.ceil(rows / node.tile[0]), Math.ceil(cols / node.tile[1])]
  let turned = !node.picture && node.op !== 'scores' && node.op !== 'attention'
  if (node.kind === 'weight') {
    turned = node.shape.length < 2 || table
    const [out = 1, given = 1] = node.shape
    if (node.shape.length > 2 && !(node.shape.length === 4 && given <= 3 && out * given <= 256))
      [slabs, rows, cols] = [1, out, (slabs * rows * cols) / out] // as many rows as there are kernels
  }
  let across = 1
  if (slabs > 1 && (node.picture || node.kind === 'weight')) across = Math.max(1, Math.round(Math.sqrt(slabs) / 1.5))
  else if (slabs > 8) across = Math.ceil(Math.sqrt(slabs))
  if (node.kind === 'weight' && slabs > 1) across = Math.max(1, Math.round(across / node.shape[1]!)) * node.shape[1]!
  const [right, down] = turned ? [rows, cols] : [cols, rows]
  const [w, h] = node.picture || (node.kind === 'weight' && slabs > 1) ? [side(right), side(down)] : [length(right), length(down)]
  const gap = slabs > 1 ? SLAB : 0
  return {
    slabs, across, rows, cols, turned,
    w: Math.min(across, slabs) * (w + gap) - gap,
    h: Math.ceil(slabs / across) * (h + gap) - gap,
  }
}

const side = (n: number) => Math.max(8, 5.5 * n ** 0.6)

/** What is made together: a value with its weights at its left. */
interface Cluster {
  node: Node
  beside: Node[]
  w: number
  h: number
}

interface Part {
  clusters: { of: Cluster; x: number; y: number; rail: boolean }[] // y of the middle
  w: number
  up: number
  down: number
  block: string
}

export function layout(nodes: Node[], aspect: number): Layout {
  const known = new Map(nodes.map((n) => [n.id, n]))
  const flows = nodes.filter((n) => n.kind === 'value' || (n.kind === 'data' && nodes.some((m) => m.kind === 'value' && firstFlow(m, known) === n)))
  const tables = new Set(nodes.filter((n) => n.op === 'embedding').flatMap((n) => n.reads))
  const forms = new Map(nodes.map((n) => [n.id, form(n, tables.has(n.id))]))
  // what is read of a later node is of a step before: a recurrent layer goes round
  const order = new Map(nodes.map((n, i) => [n.id, i]))
  const inputs = (n: Node) =>
    n.reads.filter((id) => order.get(id)! < order.get(n.id)! && flows.includes(known.get(id)!)).map((id) => known.get(id)!)
  const placed = new Set(flows.map((n) => n.id))
  const clusters = new Map(
    flows.map((node) => {
      const beside = node.reads.filter((id) => known.has(id) && !placed.has(id)).map((id) => known.get(id)!)
      for (const n of beside) placed.add(n.id)
      const all = [...beside, node].map((n) => forms.get(n.id)!)
      const w = all.reduce((sum, f) => sum + f.w + NEAR, -NEAR)
      return [node.id, { node, beside, w, h: Math.max(...all.map((f) => f.h)) } as Cluster]
    }),
  )
  const blocks = [...new Set(nodes.map((n) => n.block).filter(Boolean))]
  const rail = railOf(flows, inputs)
  const parts = partsOf(flows, rail, inputs, clusters)
  const rows = rowsOf(parts, aspect)

  const boxes: Box[] = []
  const frames = new Map<number, Frame>()
  const headings: Heading[] = []
  const tops: number[] = []
  let y = 0
  rows.forEach((row, r) => {
    const up = Math.max(...row.map((p) => p.up))
    const down = Math.max(...row.map((p) => p.down))
    let x = 0
    for (const part of row) {
      if (part.block && blocks.length > 1) headings.push({ text: named(part.block, blocks), x, y: y + up - part.up - 4 })
      for (const c of part.clusters) put(c.of, x + c.x, y + up + c.y, r, y + up)
      x += part.w + GAP
    }
    tops.push(y)
    y += up + down + 2 * LANE
  })

  function put(cluster: Cluster, x: number, middle: number, row: number, rail: number) {
    for (const node of [...cluster.beside, cluster.node]) {
      const f = forms.get(node.id)!
      const top = middle - f.h / 2
      frames.set(node.id, { node: node.id, x, y: top, w: f.w, h: f.h, row, rail })
      const across = Math.min(f.across, f.slabs)
      const [w, h] = [(f.w + SLAB) / across - SLAB, (f.h + SLAB) / Math.ceil(f.slabs / f.across) - SLAB]
      for (let s = 0; s < f.slabs; s++)
        boxes.push({
          node: node.id, slab: s, x: x + (s % f.across) * (w + SLAB), y: top + Math.floor(s / f.across) * (h + SLAB),
          w: f.slabs > 1 ? w : f.w, h: f.slabs > 1 ? h : f.h, rows: f.rows, cols: f.cols, turned: f.turned,
          from: s * f.rows * f.cols,
        })
      x += f.w + NEAR
    }
  }

  const wires: Wire[] = []
  for (const node of flows)
    for (const from of inputs(node)) {
      const first = clusters.get(node.id)!.beside[0] ?? node
      const [a, b] = [frames.get(from.id)!, frames.get(first.id)!]
      wires.push({ from: from.id, to: node.id, path: wire(a, b, frames.get(node.id)!, tops[b.row]! - LANE) })
    }
  const all = [...frames.values()]
  return { boxes, frames, wires, headings, w: Math.max(...all.map((f) => f.x + f.w)), h: Math.max(...all.map((f) => f.y + f.h)) }
}

/** "Block 2 of 3". */
export const named = (block: string, blocks: string[]) => `Block ${blocks.indexOf(block) + 1} of ${blocks.length}`

function firstFlow(node: Node, known: Map<number, Node>): Node | undefined {
  return node.reads.map((id) => known.get(id)).find((n) => n && n.kind !== 'weight' && n.kind !== 'constant')
}

/** The nodes from the data to the loss along the shortest way: past what is added to it. */
function railOf(flows: Node[], inputs: (n: Node) => Node[]): Set<Node> {
  const before = new Map<Node, Set<Node>>()
  for (const node of flows) {
    const found = new Set<Node>()
    for (const n of inputs(node)) {
      found.add(n)
      for (const m of before.get(n) ?? []) found.add(m)
    }
    before.set(node, found)
  }
  const rail = new Set<Node>()
  let at: Node | undefined = flows[flows.length - 1]
  while (at && !rail.has(at)) {
    rail.add(at)
    const given: Node[] = inputs(at)
    const skip: Node | undefined = at.op === 'add' ? given.find((a) => given.some((b) => b !== a && before.get(b)?.has(a))) : undefined
    at = skip ?? given.filter((n) => n.kind === 'value').sort((a, b) => (before.get(b)?.size ?? 0) - (before.get(a)?.size ?? 0))[0] ?? given[0]
  }
  return rail
}

/** The rail cut into parts: each has what hangs beside it, and parts of one block stand together. */
function partsOf(flows: Node[], rail: Set<Node>, inputs: (n: Node) => Node[], clusters: Map<number, Cluster>): Part[] {
  const parts: Part[] = []
  let waiting: Node[] = []
  for (const node of flows) {
    if (!rail.has(node)) {
      waiting.push(node)
      continue
    }
    const block = [...waiting, node].map((n) => n.block).find(Boolean) ?? ''
    const part = blockOf(waiting, node, inputs, clusters, block)
    waiting = []
    const last = parts[parts.length - 1]
    if (last && block && last.block === block) join(last, part)
    else parts.push(part)
  }
  if (waiting.length && parts.length) {
    const side = layered(waiting, inputs, clusters)
    const last = parts[parts.length - 1]!
    for (const c of side.clusters) last.clusters.push({ ...c, x: last.w + GAP + c.x, rail: false })
    last.w += GAP + side.w
    last.up = Math.max(last.up, side.h / 2)
    last.down = Math.max(last.down, side.h / 2)
  }
  return parts
}

function blockOf(beside: Node[], node: Node, inputs: (n: Node) => Node[], clusters: Map<number, Cluster>, block: string): Part {
  const own = clusters.get(node.id)!
  const half = own.h / 2
  if (!beside.length) return { clusters: [{ of: own, x: 0, y: 0, rail: true }], w: own.w, up: half + 14, down: half, block }
  const side = layered(beside, inputs, clusters)
  const inline = node.op.includes(':') // the gates of a recurrent layer
  const above = beside.some((n) => n.op === 'scores')
  const room = LANE + half
  const shift = inline ? 0 : above ? -(room + side.h / 2) : room + side.h / 2
  const made = side.clusters.map((c) => ({ ...c, y: c.y + shift, rail: false }))
  made.push({ of: own, x: side.w + GAP, y: 0, rail: true })
  return {
    clusters: made, w: side.w + GAP + own.w, block,
    up: Math.max(half, side.h / 2 - shift) + 14,
    down: Math.max(half, side.h / 2 + shift),
  }
}

/** Nodes in columns by how many of them lie before each. */
function layered(nodes: Node[], inputs: (n: Node) => Node[], clusters: Map<number, Cluster>) {
  const depth = new Map<Node, number>()
  for (const n of nodes) depth.set(n, Math.max(-1, ...inputs(n).map((m) => depth.get(m) ?? -1)) + 1)
  const columns: Node[][] = []
  for (const n of nodes) (columns[depth.get(n)!] ??= []).push(n)
  const made: { of: Cluster; x: number; y: number }[] = []
  let x = 0
  let tallest = 0
  for (const column of columns) {
    const of = column.map((n) => clusters.get(n.id)!)
    const h = of.reduce((sum, c) => sum + c.h + GAP + 10, -GAP - 10)
    const w = Math.max(...of.map((c) => c.w))
    let y = -h / 2
    for (const c of of) {
      made.push({ of: c, x: x + w - c.w, y: y + c.h / 2 })
      y += c.h + GAP + 10
    }
    x += w + GAP
    tallest = Math.max(tallest, h)
  }
  return { clusters: made, w: x - GAP, h: tallest }
}

/** A further part of the same block: where it hangs on the other side of the rail, it stands as far left as it can. */
function join(first: Part, more: Part) {
  const x = first.w + GAP
  for (const c of more.clusters) first.clusters.push({ ...c, x: x + c.x })
  first.w = x + more.w
  first.up = Math.max(first.up, more.up)
  first.down = Math.max(first.down, more.down)
}

/** Parts in rows, so that the whole is about as wide as it is asked for. */
function rowsOf(parts: Part[], aspect: number): Part[][] {
  let best: Part[][] = [parts]
  let least = Infinity
  const widest = Math.max(...parts.map((p) => p.w))
  const whole = parts.reduce((sum, p) => sum + p.w + GAP, 0)
  for (let rows = 1; rows <= Math.min(40, parts.length); rows++) {
    const found = filled(parts, Math.max(widest, (whole / rows) * 1.08))
    const w = Math.max(...found.map((row) => row.reduce((sum, p) => sum + p.w + GAP, 0)))
    const h = found.reduce((sum, row) => sum + Math.max(...row.map((p) => p.up)) + Math.max(...row.map((p) => p.down)) + 2 * LANE, 0)
    const off = Math.abs(Math.log(w / h / aspect))
    if (off < least) [best, least] = [found, off]
  }
  return best
}

function filled(parts: Part[], room: number): Part[][] {
  const rows: Part[][] = [[]]
  let used = 0
  for (const part of parts) {
    if (used && used + part.w > room) {
      rows.push([])
      used = 0
    }
    rows[rows.length - 1]!.push(part)
    used += part.w + GAP
  }
  return rows
}

/** From the right of one to the left of the other; to another row through the gutter above it, and along its rail. */
function wire(a: Frame, b: Frame, end: Frame, gutter: number): string {
  const [x, y] = [a.x + a.w, a.y + a.h / 2]
  const [u, v] = [b.x, end.y + end.h / 2]
  const to = (from: number, level: number) => {
    if (Math.abs(level - v) < 1) return `H${u}`
    const start = Math.max(from, u - 3 * GAP)
    const bend = Math.max(6, (u - start) / 2)
    return `H${start}C${start + bend} ${level} ${u - bend} ${v} ${u} ${v}`
  }
  if (a.row === b.row) return `M${x} ${y}${to(x, y)}`
  const rail = end.rail
  return `M${x} ${y}h4C${x + 16} ${y} ${x + 16} ${gutter} ${x} ${gutter}H-10C-26 ${gutter} -26 ${rail} -10 ${rail}${to(-10, rail)}`
}
