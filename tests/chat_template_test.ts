// Chat templates of real models, against what Python's apply_chat_template makes of them.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { type ChatMessage, ChatTemplate, ChatTemplateError } from "../src/text/jinja_template.ts";
import { type Family, familyTokenizer, textGolden } from "./families.ts";

interface Case {
  name: string;
  messages: ChatMessage[];
  tools: unknown[] | null;
  add_generation_prompt: boolean;
  variables: Record<string, unknown>;
  rendered: Record<string, string | { error: string }>;
  ids: Record<string, number[]>;
}

const cases: Case[] = JSON.parse(textGolden("chats.json"));
/** The clock of the script that made them. */
const now = new Date(2025, 2, 9, 8, 5, 7);

const templates = new Map<string, ChatTemplate>();

function template(name: string): ChatTemplate {
  const known = templates.get(name) ?? new ChatTemplate(textGolden(`templates/${name}.jinja`));
  templates.set(name, known);
  return known;
}

function render(name: string, { messages, tools, add_generation_prompt, variables }: Case): string {
  const bos = name.startsWith("llama")
    ? "<|begin_of_text|>"
    : name.includes("gemma")
    ? "<bos>"
    : "";
  return template(name).render({
    messages,
    tools,
    addGenerationPrompt: add_generation_prompt,
    variables: { bos_token: bos, ...variables },
    now,
  });
}

const called = cases.filter(({ messages }) => messages.some((message) => message.tool_calls));

/** Where @huggingface/jinja 0.5.11 is not Jinja; none of these templates is a model's own. */
const deviations: Record<string, { why: string; cases: string[] }> = {
  functiongemma: { why: "a mapping is printed as JSON, not as Python", cases: ["arguments"] },
  gemma3_pythonic: {
    why: "a mapping is not `iterable`",
    cases: called.map(({ name }) => name),
  },
  hermes: {
    why: "`trim` refuses an undefined value",
    cases: cases.filter(({ tools }) => tools).map(({ name }) => name),
  },
  llama3_pythonic: {
    why: "there is no filter `format`",
    cases: called.map(({ name }) => name),
  },
};

for (const name of Object.keys(cases[0]!.rendered)) {
  Deno.test(`${name}: conversations are rendered byte for byte as in Python`, () => {
    const different = cases.filter((one) => {
      const expected = one.rendered[name]!;
      try {
        return render(name, one) !== expected;
      } catch (error) {
        assert(error instanceof ChatTemplateError);
        return typeof expected === "string";
      }
    });
    assertEquals(different.map((one) => one.name), deviations[name]?.cases ?? []);
  });
}

for (const family of ["llama3", "qwen3", "gemma3"] as const satisfies Family[]) {
  Deno.test(`${family}: the ids of a conversation are those of Python`, async () => {
    const tokenizer = await familyTokenizer(family);
    assertEquals(tokenizer.chatTemplate, textGolden(`templates/${family}.jinja`));
    for (const one of cases.filter(({ ids }) => ids[family])) {
      const ids = tokenizer.encodeTemplate(one.rendered[family] as string);
      assertEquals([...ids], one.ids[family], one.name);
    }
  });
}

Deno.test("a template's own words reach the caller, with a remedy", () => {
  const dialogue = [{ role: "assistant", content: "hi" }];
  const error = assertThrows(
    () => template("gemma3").render({ messages: dialogue }),
    ChatTemplateError,
    "Conversation roles must alternate",
  );
  assert(error.message.includes("`template`"), error.message);
  assertThrows(() => new ChatTemplate("{% if %}"), ChatTemplateError, "Cannot read");
});

Deno.test("loop controls, ranges, generation blocks and every field of a date work", () => {
  const text = (source: string) => new ChatTemplate(source).render({ messages: [], now });
  assertEquals(
    text(
      "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}" +
        "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    ),
    "02",
  );
  assertEquals(text("{{ range(2, 8, 3)|join(',') }} {{ range(3, 0, -1)|join(',') }}"), "2,5 3,2,1");
  assertEquals(text("a{% generation %}b{% endgeneration %}c"), "abc");
  assertEquals(
    text("{{ strftime_now('%Y %y %m %B %b %d %j %A %a %H %I %p %M %S %% %Q') }}"),
    "2025 25 03 March Mar 09 068 Sunday Sun 08 08 AM 05 07 % %Q",
  );
});
