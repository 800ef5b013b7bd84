// Makes the bundle: node build.mjs FOLDER. What it needs is in node_modules; nothing is fetched.
import { build } from 'esbuild'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const LIMIT = 500_000 // bytes of all scripts and styles, gzipped
const SHIPPED = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'] // esbuild only builds

const out = process.argv[2]
if (!out) throw new Error('name the folder to write')
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })

const made = await build({
  entryPoints: ['src/main.tsx'],
  bundle: true,
  splitting: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  outdir: out,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  metafile: true,
  legalComments: 'none',
  logLevel: 'warning',
})

const names = Object.keys(made.metafile.outputs).map((path) => basename(path))
const entry = (suffix) => names.find((name) => name.startsWith('main-') && name.endsWith(suffix))
const page = readFileSync('src/index.html', 'utf8')
writeFileSync(join(out, 'index.html'), page.replace('{{style}}', entry('.css')).replace('{{script}}', entry('.js')))
writeFileSync(join(out, 'icon.svg'), readFileSync('src/icon.svg'))
writeFileSync(join(out, 'notices.txt'), SHIPPED.map(notice).join('\n\n'))

const sizes = names.map((name) => gzipSync(readFileSync(join(out, name)), { level: 9 }).length)
const total = sizes.reduce((a, b) => a + b, 0)
names.forEach((name, i) => console.log(name.padEnd(28), `${sizes[i]} bytes gzipped`))
console.log('all'.padEnd(28), `${total} bytes gzipped`)
if (total > LIMIT) throw new Error(`the bundle has ${total} bytes gzipped, more than ${LIMIT}`)

// The licence of a package whose code is in the bundle must travel with it.
function notice(name) {
  const folder = join('node_modules', name)
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f))
  if (!file || !existsSync(join(folder, file))) throw new Error(`${name} comes without a licence`)
  return `${name} ${about.version} (${about.license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
}
