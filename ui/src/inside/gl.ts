/** Draws all tensors in one call: a box for each slab, its cells read from one texture of float32 numbers. */
import type { Box } from './layout'

const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in vec3 corner; layout(location=1) in vec4 place; layout(location=2) in vec4 cells;
layout(location=3) in vec4 look; uniform vec4 view; uniform vec3 tilt; uniform vec2 size;
out vec2 uv; flat out vec4 form; flat out vec4 shown; out float lit;
void main() {
  vec3 p = vec3(place.xy + corner.xy * place.zw, (corner.z - 1.) * 7. * tilt.z);
  float c = cos(tilt.x), s = sin(tilt.x), d = cos(tilt.y), e = sin(tilt.y);
  vec3 q = vec3(p.x * c + p.z * s, p.y * d + (p.x * s - p.z * c) * e, -p.x * s * d + p.z * c * d + p.y * e);
  vec2 px = q.xy * view.z + view.xy;
  gl_Position = vec4(px / size * 2. - 1., -q.z / 20000., 1.);
  gl_Position.y = -gl_Position.y;
  uv = corner.xy; form = cells; shown = look; lit = corner.z;
}`

const FRAGMENT = `#version 300 es
precision highp float; precision highp sampler2D; precision highp int;
in vec2 uv; flat in vec4 form; flat in vec4 shown; in float lit; out vec4 color;
uniform sampler2D numbers; uniform vec3 none; uniform vec3 plus; uniform vec3 minus; uniform vec3 edge;
void main() {
  bool turned = form.w > .5; float rows = form.x, cols = form.y;
  vec2 size = turned ? vec2(rows, cols) : vec2(cols, rows);
  vec2 grid = min(uv, .99999) * size; vec2 at = floor(grid);
  int row = int(turned ? at.x : at.y), col = int(turned ? at.y : at.x);
  int k = int(form.z) + row * int(cols) + col;
  float v = texelFetch(numbers, ivec2(k & 2047, k >> 11), 0).r;
  vec2 step = fwidth(grid); float wide = max(step.x, step.y);
  vec3 found;
  if (v != v) { vec2 w = fract(gl_FragCoord.xy / 7.); found = mix(none, edge, .25 * float(abs(w.x - w.y) < .18)); }
  else { float m = clamp(sqrt(abs(v) * shown.x), 0., 1.); found = mix(none, v > 0. ? plus : minus, m); }
  vec2 line = abs(fract(grid) - .5);
  vec2 lines = smoothstep(.5 - step, vec2(.5), line);
  found = mix(found, none, .55 * max(lines.x, lines.y) * (1. - smoothstep(.1, .3, wide)));
  vec2 border = min(uv, 1. - uv) * size / max(step, 1e-6);
  float rim = 1. - smoothstep(1., 2.2, min(border.x, border.y));
  found = mix(found, edge, rim * (.35 + .65 * shown.z));
  if (lit < .99) found *= .62;
  color = vec4(found * shown.y, shown.y);
}`

const WIDTH = 2048
export type Color = [number, number, number]

export interface View {
  x: number
  y: number
  k: number // pixels of a unit
  turn: number // of the scene: 0 is flat
  tip: number
}

export class Painter {
  draws = 0 // calls of the last frame
  private gl: WebGL2RenderingContext
  private program!: WebGLProgram
  private places!: WebGLBuffer
  private texture!: WebGLTexture
  private at: Record<string, WebGLUniformLocation | null> = {}
  private data: Float32Array<ArrayBuffer> = new Float32Array(0)
  private rows = 0
  private count = 0
  private table: Float32Array<ArrayBuffer> = new Float32Array(0)

  constructor(private canvas: HTMLCanvasElement) {
    const gl = canvas.getContext('webgl2', { antialias: true, alpha: true, premultipliedAlpha: true })
    if (!gl) throw new Error('no WebGL2')
    this.gl = gl
    this.prepare()
  }

  /** Make what lives on the graphics card; again after it was lost. */
  prepare() {
    const gl = this.gl
    this.program = gl.createProgram()!
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!
      gl.shaderSource(shader, source)
      gl.compileShader(shader)
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader) ?? 'shader')
      gl.attachShader(this.program, shader)
    }
    gl.linkProgram(this.program)
    for (const name of ['view', 'tilt', 'size', 'numbers', 'none', 'plus', 'minus', 'edge'])
      this.at[name] = gl.getUniformLocation(this.program, name)
    const face = (a: number[], b: number[], c: number[], d: number[]) => [...a, ...b, ...c, ...a, ...c, ...d]
    const corners = new Float32Array([
      ...face([1, 0, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0]), ...face([0, 1, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1]),
      ...face([0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 1, 0]), ...face([0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]),
      ...face([0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]),
    ])
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer())
    gl.bufferData(gl.ARRAY_BUFFER, corners, gl.STATIC_DRAW)
    gl.enableVertexAttribArray(0)
    gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0)
    this.places = gl.createBuffer()!
    gl.bindBuffer(gl.ARRAY_BUFFER, this.places)
    for (const i of [1, 2, 3]) {
      gl.enableVertexAttribArray(i)
      gl.vertexAttribPointer(i, 4, gl.FLOAT, false, 48, (i - 1) * 16)
      gl.vertexAttribDivisor(i, 1)
    }
    this.texture = gl.createTexture()!
    gl.bindTexture(gl.TEXTURE_2D, this.texture)
    for (const p of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, p, gl.NEAREST)
    if (this.rows) this.upload()
  }

  /** Room for so many numbers. */
  hold(cells: number) {
    this.rows = Math.max(1, Math.ceil(cells / WIDTH))
    this.data = new Float32Array(this.rows * WIDTH)
  }

  /** Numbers from a place on; `upload` shows them. */
  put(numbers: Float32Array, at: number) {
    this.data.set(numbers, at)
  }

  upload() {
    const gl = this.gl
    gl.bindTexture(gl.TEXTURE_2D, this.texture)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, WIDTH, this.rows, 0, gl.RED, gl.FLOAT, this.data)
  }

  /** What stands where, and how: the first of its numbers, one over its scale, how much it is there, whether it is hot. */
  boxes(boxes: Box[], look: (box: Box) => [from: number, scale: number, there: number, hot: number]) {
    if (this.table.length !== boxes.length * 12) this.table = new Float32Array(boxes.length * 12)
    boxes.forEach((b, i) => {
      const [from, scale, there, hot] = look(b)
      this.table.set([b.x, b.y, b.w, b.h, b.rows, b.cols, from, b.turned ? 1 : 0, scale, there, hot, 0], i * 12)
    })
    this.count = boxes.length
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.places)
    this.gl.bufferData(this.gl.ARRAY_BUFFER, this.table, this.gl.DYNAMIC_DRAW)
  }

  draw(view: View, colors: Record<'none' | 'plus' | 'minus' | 'edge', Color>) {
    const { gl, canvas } = this
    const ratio = devicePixelRatio || 1
    const [w, h] = [canvas.clientWidth, canvas.clientHeight]
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio))
      [canvas.width, canvas.height] = [Math.round(w * ratio), Math.round(h * ratio)]
    gl.viewport(0, 0, canvas.width, canvas.height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT)
    gl.enable(gl.DEPTH_TEST)
    gl.depthFunc(gl.LEQUAL)
    gl.enable(gl.BLEND)
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
    gl.useProgram(this.program)
    gl.uniform4f(this.at.view!, view.x, view.y, view.k, 0)
    gl.uniform3f(this.at.tilt!, view.turn, view.tip, view.turn || view.tip ? 1 : 0)
    gl.uniform2f(this.at.size!, w, h)
    gl.uniform1i(this.at.numbers!, 0)
    for (const [name, color] of Object.entries(colors)) gl.uniform3f(this.at[name]!, ...color)
    gl.drawArraysInstanced(gl.TRIANGLES, 0, 30, this.count)
    this.draws = 1
  }
}

/** Where a point of the scene's plane is on the screen; the same turn as in the shader. */
export function onScreen(view: View, x: number, y: number): [number, number] {
  const [s, c, e, d] = [Math.sin(view.turn), Math.cos(view.turn), Math.sin(view.tip), Math.cos(view.tip)]
  return [x * c * view.k + view.x, (y * d + x * s * e) * view.k + view.y]
}

/** The point of the plane behind a point of the screen. */
export function inScene(view: View, u: number, v: number): [number, number] {
  const [s, c, e, d] = [Math.sin(view.turn), Math.cos(view.turn), Math.sin(view.tip), Math.cos(view.tip)]
  const x = (u - view.x) / view.k / c
  return [x, ((v - view.y) / view.k - x * s * e) / d]
}

/** The same as a transform of CSS and SVG. */
export function asMatrix(view: View): string {
  const [s, c, e, d] = [Math.sin(view.turn), Math.cos(view.turn), Math.sin(view.tip), Math.cos(view.tip)]
  return `matrix(${c * view.k} ${s * e * view.k} 0 ${d * view.k} ${view.x} ${view.y})`
}
