import { describe, expect, it } from 'vitest';
import { duration, TrainView } from '../../src/cli/train_view.js';
import { Lines } from '../../src/train/log/lines.js';
import { record } from '../train/log/record.js';

describe('a terminal', () => {
  function terminal(columns = 200) {
    let clock = 0;
    let output = '';
    const lines: string[] = [];
    const screen = {
      write: (text: string) => {
        output += text;
      },
      columns,
    };
    const display = new TrainView(screen, new Lines((line) => lines.push(line)), () => clock);
    const shown = () => output.slice(output.lastIndexOf('\r\x1b[K') + 4);
    return { display, lines, shown, all: () => output, at: (ms: number) => (clock = ms) };
  }

  it('shows how far the stage is and how long it will take', () => {
    const { display, shown, lines, at } = terminal();
    display.begin('papo', 10, 4);
    at(20_000);
    display.record(record(6), 10);
    expect(shown()).toMatch(/^papo █{12}░{8} 6\/10 {2}40 s left {2}reward 0\.1235/);
    expect(lines).toHaveLength(2);
  });

  it('keeps notes and validations as lines, and fits its width', () => {
    const { display, shown, all } = terminal(30);
    display.begin('papo', 10, 0);
    display.record(record(0, { kind: 'validation' }), 10);
    display.note('no signal \x1b[31m');
    display.progress('beta: responses to learn from', 5, 10);
    expect(all()).toContain('papo 0/10 validation: reward 0.1235');
    expect(all()).toContain('no signal [31m\n');
    expect(shown()).toBe('beta: responses to learn from');
    display.close();
    expect(shown()).toBe('');
  });

  it('tells time', () => {
    expect([0, 59.6, 200, 7500].map(duration)).toEqual(['0 s', '1 min 0 s', '3 min 20 s', '2 h 5 min']);
  });
});
