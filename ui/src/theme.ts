/** Dark or light: as the system is, unless the person says otherwise; charts read their colours here. */
import { computed, effect, signal } from '@preact/signals'
import { kept } from './kept'

export const chosen = kept<string>('theme', 'system')
const dark = matchMedia('(prefers-color-scheme: dark)')
const system = signal(dark.matches)
dark.addEventListener('change', () => (system.value = dark.matches))

export const isDark = computed(() => (chosen.value === 'system' ? system.value : chosen.value === 'dark'))
effect(() => {
  document.documentElement.dataset.theme = isDark.value ? 'dark' : 'light'
})

export const turn = () => (chosen.value = { system: 'dark', dark: 'light', light: 'system' }[chosen.value] ?? 'system')

/** Paul Tol's "bright", as in curves.png: safe for colour blindness; lighter on dark. */
const LIGHT = ['#3b6ea8', '#d4475a', '#1c7a2e', '#9a7b0a', '#2c8fb0', '#a03573', '#6a6a6a', '#b3561b']
const DARK = ['#74aef0', '#f58a98', '#63c47a', '#dcbd52', '#7fd3ee', '#dd86b8', '#b5b5b5', '#f0a067']

export const paint = (i: number) => (isDark.value ? DARK : LIGHT)[i % LIGHT.length]!
export const PART: Record<string, number> = { train: 0, valid: 1, test: 2 }
export const ink = computed(() =>
  isDark.value
    ? { axis: '#93a1b3', grid: 'rgba(148,170,196,.13)', line: '#8fa0b4', alarm: '#ff7b72', best: '#ffc658' }
    : { axis: '#56636f', grid: 'rgba(30,50,70,.09)', line: '#6d7a87', alarm: '#c62f1d', best: '#a87400' },
)
