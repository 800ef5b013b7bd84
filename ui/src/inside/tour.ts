/** A guided walk: what each part of a network is for, in plain words, one stop after the other. */
import type { Node, Step } from './ask'
import type { Phase } from './stops'

export interface Halt {
  title: string
  text: string
  phase: Phase
  node: number // -1: the whole network
}

type Find = (nodes: Node[], step: Step) => Node | undefined
type Told = { title: string; text: string | ((step: Step) => string); find: Find | null; phase?: Phase }

const op = (...names: string[]): Find => (nodes) => nodes.find((n) => names.includes(n.op) && n.kind === 'value')
const titled = (text: string): Find => (nodes) => nodes.find((n) => n.title.includes(text) && n.kind === 'value')
const answer: Find = (nodes) => nodes.find((n) => (n.title === 'logits' || n.title === 'the answer') && n.kind === 'value')
const last = (name: string): Find => (nodes) => nodes.filter((n) => n.op === name && n.kind === 'value').pop()
const data: Find = (nodes) => nodes.find((n) => n.kind === 'data')
const first = (step: Step) => step.tokens.slice(0, 12).join('')

const GPT: Told[] = [
  { title: 'A language model, whole', find: null, text: 'This is the whole network of your run, at one checkpoint, with one sample. Each little cell is one number: orange is above 0, blue below, dark is near 0. Nothing here is made up: point at any cell to see how it came about.' },
  { title: 'Tokens', find: data, text: (s) => `The text is cut into tokens, each with a number of its own. This window begins “${first(s)}”. Each column that follows belongs to one token.` },
  { title: 'Vectors', find: op('embedding'), text: 'Each token is looked up in a table that was learned. Its row, here drawn downwards, is how the network knows the token. Tokens that are used alike get vectors that are alike.' },
  { title: 'The rail', find: op('add'), text: 'This sum is the main road, the residual stream. Each block reads from it, works something out beside it, and adds that to it. Nothing on the road is thrown away, and gradients come back along it undisturbed.' },
  { title: 'Layer norm', find: op('layer_norm', 'rms_norm'), text: 'Before each part, every token’s numbers are centred and brought to one size. So a part never has to cope with numbers that have grown.' },
  { title: 'Queries, keys, values', find: titled('queries, keys'), text: 'From each token three things are made: a query (what am I looking for?), a key (what have I to offer?) and a value (what I tell if somebody looks at me). Each head has its own.' },
  { title: 'Turned by their place', find: op('turn'), text: 'Queries and keys are turned by an angle that grows with the place of the token. When a query meets a key, what counts is how far apart they are.' },
  { title: 'How well they fit', find: op('scores'), text: 'Each query is multiplied with each key and added up. A large number: this token has what that one looks for. The hatched half is hidden: nobody may look at what comes later.' },
  { title: 'Attention', find: op('attention'), text: 'Softmax turns each row into shares of 1. Row by row you can read where each token looks. Heads differ: one may look at the token before, another at the last space.' },
  { title: 'Values, mixed', find: titled('mixture'), text: 'Each token takes what the others have to tell, in the shares of its attention. This is the only place where tokens hear of each other.' },
  { title: 'Heads together', find: titled('heads put together'), text: 'What all heads found is put together by one dense layer, and added to the road.' },
  { title: 'Thinking by itself', find: titled('wider'), text: 'Now each token works for itself: a wide layer of units, each asking one question of the token’s numbers …' },
  { title: 'A bend', find: op('gelu', 'relu', 'square', 'silu'), text: '… a bend that lets only some of them speak …' },
  { title: 'Back to the road', find: titled('back to width'), text: '… and a layer that says what follows from it, which is added to the road too. All blocks work like this one, each with weights of its own.' },
  { title: 'Logits', find: titled('logits'), text: 'At the end each token’s column is compared with the vector of every token there is. The higher the number, the likelier that one comes next.' },
  { title: 'Probabilities', find: titled('probabilities'), text: 'Softmax once more: each column adds up to 1. To write a text, one token is drawn from the last column, put behind the others, and all begins anew.' },
  { title: 'Surprise', find: op('cross_entropy'), phase: 'loss', text: 'How surprised the network was by the token that really came: minus the logarithm of its probability. The mean over all places is the loss.' },
  { title: 'The way back', find: last('linear'), phase: 'backward', text: 'Now backwards. At the logits the gradient is simply: probability minus truth. From here it flows through every operation against its direction, and each cell learns how the loss would move if it moved.' },
  { title: 'Into the first block', find: op('attention'), phase: 'backward', text: 'Even here, far from the loss, each number knows its share of the mistake. The rail is why: it carried the gradient all the way back.' },
  { title: 'The update', find: (n) => n.find((m) => m.change && m.title.includes('queries')), phase: 'update', text: 'Each weight moves a little against its gradient, as the optimizer says. That was one step, with one sample. Training is this, many thousand times.' },
]

const OTHER: Told[] = [
  { title: 'A network, whole', find: null, text: 'This is the whole network of your run, at one checkpoint, with one sample. Each little cell is one number: orange is above 0, blue below, dark is near 0. Nothing here is made up: point at any cell to see how it came about.' },
  { title: 'What it is given', find: data, text: 'The sample, as the run prepares it: brought to one scale, so that 0 is the middle of what the training saw.' },
  { title: 'Vectors', find: op('embedding'), text: 'Each piece is looked up in a table that was learned. Its row, here drawn downwards, is how the network knows it.' },
  { title: 'Convolution', find: op('conv'), text: 'At the left of the maps stand their kernels, small windows of weights. Each slides over the image; where what it covers looks like it, its map lights up. Point at a cell of a map to see the window it came from.' },
  { title: 'Gates', find: (n) => n.find((m) => /:(reset|write)$/.test(m.op)), text: 'A recurrent layer reads step by step, one column for each. Gates between 0 and 1 decide what is kept, what is forgotten and what is written.' },
  { title: 'The state', find: (n) => n.find((m) => m.op.endsWith(':state')), text: 'What the layer remembers after each step. Each column is made from the column before it and from what is read now: point at a cell and follow it back in time. The same weights are used at every step.' },
  { title: 'Dense layer', find: (n) => n.find((m) => m.op === 'linear' && m.title !== 'logits' && m.title !== 'the answer'), text: 'Each of these numbers is a sum of all inputs, each times its own weight. Its row of weights stands at its left, at the same height.' },
  { title: 'A bend', find: op('relu', 'gelu', 'tanh', 'sigmoid', 'silu'), text: 'Without a bend, two layers would be no more than one. Here what is small is silenced, so that units can answer yes or no.' },
  { title: 'Pooling', find: op('max_pool', 'avg_pool'), text: 'Of each little window one number is kept. The maps get smaller; where exactly something was matters less.' },
  { title: 'A sum', find: op('add'), text: 'What was worked out is added to what came in. Nothing is lost on the way, and gradients find a short way back.' },
  { title: 'The answer', find: answer, text: (s) => `${s.classes.length ? 'One number for each class' : 'What the network says, on the scale on which it learns'}. ${s.said ? `This sample is taken for ${s.said}.` : ''}` },
  { title: 'Probabilities', find: titled('probabilities'), text: 'Softmax makes shares of 1 of them: how sure the network is.' },
  { title: 'The loss', find: op('cross_entropy', 'mse_loss', 'l1_loss'), phase: 'loss', text: (s) => `How wrong that was, as one number${s.truth.length === 1 ? `; the truth is ${s.truth[0]}` : ''}.` },
  { title: 'The way back', find: answer, phase: 'backward', text: 'Now backwards: for each number, how much the loss would grow with it. With classes it begins simply: probability minus truth.' },
  { title: 'Down to the first layer', find: op('conv', 'linear', 'embedding'), phase: 'backward', text: 'Layer by layer the blame is passed on, each gradient worked out from those of what the number fed.' },
  { title: 'The update', find: (n) => n.find((m) => m.change), phase: 'update', text: 'Each weight moves a little against its gradient, as the optimizer does it at this step’s rate. Training is this, many times.' },
]

/** The stops that this network has. */
export function tourOf(step: Step): Halt[] {
  const talks = step.nodes.some((n) => n.op === 'attention')
  return (talks && step.classes.length && step.truth.length > 1 ? GPT : talks ? GPT.filter((t) => t.title !== 'Probabilities') : OTHER).flatMap(
    ({ title, text, find, phase = 'forward' }) => {
      const node = find ? find(step.nodes, step) : undefined
      if (find && !node) return []
      return [{ title, text: typeof text === 'string' ? text : text(step), phase, node: node?.id ?? -1 }]
    },
  )
}
