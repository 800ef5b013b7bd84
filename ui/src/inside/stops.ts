/** The order in which a step is walked through: forward, the loss, backward, the update. */
import type { Node, What } from './ask'

export type Phase = 'forward' | 'loss' | 'backward' | 'update'
export interface Stop {
  phase: Phase
  node: number
}

const LOSSES = ['cross_entropy', 'mse_loss', 'l1_loss', 'binary_cross_entropy_with_logits']

export const PHASES: Record<Phase, string> = {
  forward: 'Forward',
  loss: 'Loss',
  backward: 'Backward',
  update: 'Update',
}

export const TOLD: Record<Phase, string> = {
  forward: 'The sample goes through the network, operation by operation.',
  loss: 'How wrong the answer was, as one number.',
  backward:
    'The way back: for each number, how much the loss would grow if it grew by a little. That is its gradient. Each is worked out from the gradients of what the number feeds.',
  update: 'Each weight moves against its gradient, as the optimizer does it at the rate of this step.',
}

export function stopsOf(nodes: Node[]): Stop[] {
  const values = nodes.filter((n) => n.kind === 'value')
  const first = values.findIndex((n) => LOSSES.includes(n.op))
  const cut = first < 0 ? values.length - 1 : first
  return [
    ...values.slice(0, cut).map((n) => ({ phase: 'forward' as const, node: n.id })),
    ...values.slice(cut).map((n) => ({ phase: 'loss' as const, node: n.id })),
    ...values.filter((n) => n.gradient).reverse().map((n) => ({ phase: 'backward' as const, node: n.id })),
    ...nodes.filter((n) => n.change).map((n) => ({ phase: 'update' as const, node: n.id })),
  ]
}

export interface Shown {
  what: What
  there: number // 1 is there, less is still to come
}

/** What is seen of each tensor at a stop. */
export function shownAt(nodes: Node[], stops: Stop[], at: number): Map<number, Shown> {
  const now = stops[at]!
  const reached = new Map<number, number>() // the first stop of its own in each direction
  const back = new Map<number, number>()
  const moved = new Map<number, number>()
  stops.forEach((s, i) => {
    if (s.phase === 'backward') back.set(s.node, i)
    else if (s.phase === 'update') moved.set(s.node, i)
    else reached.set(s.node, i)
  })
  const readers = new Map<number, number[]>()
  for (const n of nodes) for (const id of n.reads) readers.set(id, [...(readers.get(id) ?? []), n.id])
  const found = new Map<number, Shown>()
  for (const n of nodes) {
    const used = readers.get(n.id) ?? []
    const when = n.kind === 'value' ? reached.get(n.id)! : Math.min(...used.map((id) => reached.get(id) ?? Infinity))
    const late = n.kind === 'value' ? back.get(n.id) : Math.max(...used.map((id) => back.get(id) ?? -1))
    let what: What = 'value'
    let there = when <= at ? 1 : n.kind === 'value' ? 0.17 : 0.45
    if (now.phase === 'backward' || now.phase === 'update') {
      const seen = n.gradient && late !== undefined && late >= 0 && late <= at
      what = seen ? 'gradient' : 'value'
      there = now.phase === 'update' ? (n.kind === 'weight' ? 1 : 0.25) : seen || n.kind === 'data' ? 1 : 0.3
      if ((moved.get(n.id) ?? Infinity) <= at) what = 'change'
    }
    found.set(n.id, { what, there })
  }
  return found
}
