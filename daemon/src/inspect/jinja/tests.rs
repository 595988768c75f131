//! Templates in the manner of real models stay clean; each way out of the sandbox is told, and each trick that hides one.

use proptest::prelude::{any, prop_assert, proptest};
use proptest::sample::select;

use super::super::rules::Ruleset;
use super::super::scan::{Limits, Place, Scan};
use super::super::{Finding, Format, Level};
use super::scan_template;

fn looked_at(template: &str) -> Vec<Finding> {
    let (rules, limits) = (Ruleset::default(), Limits::default());
    let mut scan = Scan::new(&rules, &limits, 0);
    scan_template(&mut scan, template, &Place::file());
    scan.finish(Format::Text).findings
}

/// In the manner of the templates that models of these families have.
const TEMPLATES: [(&str, &str); 8] = [
    ("Llama 3", include_str!("templates/llama3.jinja")),
    ("Qwen 2.5 and 3", include_str!("templates/qwen25.jinja")),
    ("Mistral", include_str!("templates/mistral.jinja")),
    ("Gemma", include_str!("templates/gemma.jinja")),
    ("Phi", include_str!("templates/phi.jinja")),
    ("DeepSeek", include_str!("templates/deepseek.jinja")),
    ("Hermes", include_str!("templates/hermes.jinja")),
    ("channels, GLM", include_str!("templates/channels.jinja")),
];

#[test]
fn templates_of_real_models_are_clean() {
    for (family, template) in TEMPLATES {
        assert_eq!(looked_at(template), [], "{family}");
    }
    for template in [
        "",
        "no template at all { } }} %}",
        "{# __class__ is only spoken of #}__class__",
        "{% raw %}{{ x.__class__ }}{% endraw %}",
        "{{ '}}' ~ \"%}\" ~ '{{' }}",
        "{{ {'a': {'b': {}}} }}",
        "{{ 'snake_case _word__' }}",
        "{{ [1, 2][0], (1, 2)[1], 'abc'[::-1] }}",
        "{%- set config = {'a': 1} %}{{ config.a }}",
        "{% for x in (1, 2) if not (x is odd) and x is not none %}{{ x }}{% else %}{% endfor %}",
        "{% for m in messages recursive %}{{ loop(m.children) }}{% endfor %}",
        "{{ messages | map(attribute=0) | sum(start=1) }}",
        "{{ name|replace('_', ' ') }}{{ name.replace('__', '') }}{{ name.split('_')[0] }}{{ '%s'|format(x) }}",
        "{% set roles = {'user': 'U' ~ x} %}{{ roles[m.role] }}{{ roles[m['role']] }}{{ ms[(ms|length) - 1] }}",
        "{% set ns = namespace(text='a' ~ x, index=0) %}{{ ms[ns.index] }}{% for m in ms[1:] %}{{ names[m.role] }}{% endfor %}",
        "{% macro g(spec, name) %}{{ spec[name].type }}{% endmacro %}{% for k in spec %}{{ g(spec, k) }}{% endfor %}",
        "{{ xs|join(', ', 'name') }}{{ xs|sort(true) }}{{ xs|sum }}{{ xs|sum('n') }}{{ xs|max }}{{ xs|unique|list }}",
        "{{ m.format }}{{ m['mode'] }}{{ 10 % 3 }}{{ n % 2 }}",
    ] {
        assert_eq!(looked_at(template), [], "{template}");
    }
}

/// Names without an underscore in sight: one is taken out of a text, and what is made of it goes a long way round to a key.
#[test]
fn keys_that_are_put_together_are_told() {
    let name = "[u, u, 'class', u, u]|join";
    let begins = "{% set u = (raise_exception|string)[15:16] %}";
    for template in [
        "{{ ''[(NAME)] }}",
        "{{ ''[(NAME) if x else 0] }}",
        "{% for k in [NAME] %}{{ ''[k] }}{% endfor %}",
        "{% set ns = namespace(k=NAME) %}{{ ''[ns.k] }}",
        "{% set a = NAME %}{% set b = a %}{{ ''[b] }}",
        "{{ ''[b] }}{% set c = b %}{% set b = NAME %}{{ ''[c] }}",
        "{% set l = [NAME] %}{{ ''[l[0]] }}",
        "{% set l = {'a': NAME} %}{{ ''[l.a] }}",
        "{% macro g(o, k) %}{{ o[k] }}{% endmacro %}{{ g('', NAME) }}",
        "{% set k = NAME %}{{ ['']|sum(k) }}",
        "{{ ['']|sum(NAME) }}",
        "{% set k = NAME %}{{ ['']|join('', k) }}",
        "{% set k = NAME %}{{ ['']|sort(false, false, k) }}",
        "{% set k = NAME %}{{ ['']|max(false, k) }}",
        "{% set k = NAME %}{{ ['']|unique(false, k)|list }}",
        "{{ ['']|sum(**{'attribute': NAME}) }}",
    ] {
        let template = format!("{begins}{}", template.replace("NAME", name));
        assert!(looked_at(&template).iter().any(|finding| finding.rule == "jinja.unknown"), "{template}");
    }
    for template in [
        "{% set u = 'a_b'[1] %}{% set c = 'class' %}{% set k = u + u + c + u + u %}{{ ''[k] }}",
        "{% for u in 'a_b' %}{{ ''[u] }}{% endfor %}",
        "{% set k = 'xa|__cla|ss__'.split('|') %}{{ ''[k[1] + k[2]] }}",
        "{% set k = (dict(a__class__b=1)|list|first)[1:-1] %}{{ ''[k] }}",
        "{{ ''[('x'|tojson)[1:2]] }}",
        "{{ ''[('%5F' ~ x)|urlencode] }}",
    ] {
        assert!(!looked_at(template).is_empty(), "{template}");
    }
}

#[test]
fn each_trick_has_its_rule() {
    let cases = [
        // Attributes, plainly.
        ("{{ x.__class__ }}", "jinja.escape"),
        ("{{ x . __class__ }}", "jinja.escape"),
        ("{{ x._secret }}", "jinja.escape"),
        ("{{ ''['__class__'] }}", "jinja.escape"),
        ("{{ x['_private'] }}", "jinja.escape"),
        ("{{ x['__init__'] }}", "jinja.escape"),
        ("{{ x|attr('__class__') }}", "jinja.escape"),
        ("{{ x | attr(name) }}", "jinja.escape"),
        ("{{ x.mro() }}", "jinja.escape"),
        ("{{ x['mro'] }}", "jinja.escape"),
        ("{{ x.gi_frame.f_globals }}", "jinja.escape"),
        ("{{ x.get('__class__') }}", "jinja.escape"),
        ("{%- if x.__class__ -%}{%- endif -%}", "jinja.escape"),
        ("{% set y = x.__class__ %}", "jinja.escape"),
        // Texts put together.
        ("{{ x['__cla' ~ 'ss__'] }}", "jinja.escape"),
        ("{{ x['__cla' 'ss__'] }}", "jinja.escape"),
        ("{% set a = '__cla' %}text{% set b = 'ss__' %}{{ x[a ~ b] }}", "jinja.escape"),
        ("{{ x['_' * 2 ~ 'class' ~ '_' * 2] }}", "jinja.escape"),
        ("{{ x[2 * '_'] }}", "jinja.escape"),
        ("{{ x[\"\\x5f\\x5fclass\\x5f\\x5f\"] }}", "jinja.escape"),
        ("{{ x[\"\\137\\u005f\"] }}", "jinja.escape"),
        ("{{ x['\\N{LOW LINE}'] }}", "jinja.escape"),
        ("{{ x['\\N{FULLWIDTH LOW LINE}'] }}", "jinja.unknown"),
        ("{{ x['__cla\\\nss__'] }}", "jinja.escape"),
        ("{{ x['__ssalc__'[::-1]] }}", "jinja.escape"),
        ("{{ x['__CLASS__'|lower] }}", "jinja.escape"),
        ("{{ x['%c%c' % (95, 95)] }}", "jinja.escape"),
        ("{{ x['%c'|format(95)] }}", "jinja.escape"),
        ("{{ \"{0.__class__}\".format(x) }}", "jinja.escape"),
        ("{{ '{}'.format(x) }}", "jinja.unknown"),
        ("{{ '%s' % x }}", "jinja.unknown"),
        ("{{ x[a ~ b] }}", "jinja.unknown"),
        ("{{ x[[a, b]|join] }}", "jinja.unknown"),
        ("{{ 'XXclassXX'|replace('X', '_') }}", "jinja.unknown"),
        ("{{ ''|replace('' ~ '_', x) }}", "jinja.escape"),
        ("{{ ['_', '_']|join('class') }}", "jinja.unknown"),
        ("{{ x['%sclass'|format(u)] }}", "jinja.unknown"),
        ("{{ dict(__cla=1, ss__=2)|join }}", "jinja.escape"),
        ("{{ '__secrets__' }}", "jinja.unknown"),
        // Underscores that stand in no text, in a key that is put together elsewhere.
        ("{% set u = strftime_now('%Y_')[4] %}{% set k = u ~ u ~ 'class' ~ u ~ u %}{{ x[k] }}", "jinja.unknown"),
        ("{% set ns.k = [u, 'class', u]|join %}{{ x[ns.k] }}", "jinja.unknown"),
        ("{% set k = a.join(b) %}{{ x[k] }}", "jinja.unknown"),
        ("{% for k in [a ~ b] %}{{ x[k] }}{% endfor %}", "jinja.unknown"),
        ("{% set k %}__class__{% endset %}{{ x[k] }}", "jinja.unknown"),
        ("{% macro k() %}__class__{% endmacro %}{{ x[k()] }}", "jinja.unknown"),
        ("{% macro k() %}__class__{% endmacro %}{% set y = k() %}{{ x[y] }}", "jinja.unknown"),
        // Filters that read attributes.
        ("{{ x|map(attribute='__class__') }}", "jinja.escape"),
        ("{{ x|map(attribute='a.__class__') }}", "jinja.escape"),
        ("{{ x|map(attribute=a) }}", "jinja.escape"),
        ("{{ x|map(attribute='a' ~ b) }}", "jinja.escape"),
        ("{{ x|map('attr', '__class__') }}", "jinja.escape"),
        ("{{ x|map('attr', a) }}", "jinja.escape"),
        ("{{ x|map(a, b) }}", "jinja.unknown"),
        ("{{ x|selectattr('__class__') }}", "jinja.escape"),
        ("{{ x|selectattr(a) }}", "jinja.unknown"),
        ("{{ x|sort(attribute='_a') }}", "jinja.escape"),
        ("{% filter attr('__class__') %}x{% endfilter %}", "jinja.escape"),
        // Objects that lead out.
        ("{{ cycler.next }}", "jinja.escape"),
        ("{{ lipsum() }}", "jinja.escape"),
        ("{% set lipsum = lipsum %}", "jinja.escape"),
        ("{{ joiner }}", "jinja.escape"),
        ("{{ request.application }}", "jinja.escape"),
        ("{{ config.items() }}", "jinja.escape"),
        ("{{ _context }}", "jinja.escape"),
        ("{{ __builtins__ }}", "jinja.escape"),
        ("{% set __loader__ = 1 %}{{ __loader__ }}", "jinja.escape"),
        ("{{ self.block() }}", "jinja.unknown"),
        // Other templates.
        ("{% include 'other' %}", "jinja.escape"),
        ("{%import 'other' as x%}", "jinja.escape"),
        ("{% from 'other' import x %}", "jinja.escape"),
        ("{%- extends 'other' %}", "jinja.escape"),
        ("{% block body %}{% endblock %}", "jinja.unknown"),
        // What is not known.
        ("{{ x|own_filter }}", "jinja.unknown"),
        ("{{ own_function() }}", "jinja.unknown"),
        ("{{ x.own_method() }}", "jinja.unknown"),
        ("{{ x is own_test }}", "jinja.unknown"),
        ("{{ x is not own_test }}", "jinja.unknown"),
        ("{{ x|select('own_test') }}", "jinja.unknown"),
        ("{{ x['a']() }}", "jinja.unknown"),
        ("{% trans %}x{% endtrans %}", "jinja.unknown"),
        // What Jinja refuses.
        ("{{ x", "jinja.broken"),
        ("{{ 'x }}", "jinja.broken"),
        ("{# x", "jinja.broken"),
        ("{% raw %}x", "jinja.broken"),
        ("{{ (x] }}", "jinja.broken"),
        ("{{ x $ y }}", "jinja.broken"),
        ("{% if x }}", "jinja.broken"),
        // Jinja takes these, and so does what stands before anything that it refuses.
        ("{{ x.__class__ }}{#", "jinja.escape"),
        ("{{ x.__class__ }}{% raw %}", "jinja.escape"),
        ("{{ x.__class__ $ }}", "jinja.escape"),
    ];
    for (template, rule) in cases {
        let findings = looked_at(template);
        assert_eq!(findings.first().map(|finding| finding.rule.as_str()), Some(rule), "{template} {findings:?}");
    }
}

#[test]
fn places_are_offsets_in_the_template() {
    let findings = looked_at("abc {{ x.__class__ }} {{ y|own }}");
    let told: Vec<_> = findings.iter().map(|finding| (finding.level, finding.place.as_str())).collect();
    assert_eq!(told, [(Level::Malicious, "@9"), (Level::Suspicious, "@27")]);
}

#[test]
fn long_templates_are_bounded() {
    for part in ["{{ x.__class__ }}", "_", "{", "{% raw %}", "{{ '__", "((", "{{ '_", "{{ x['__a"] {
        let template = part.repeat((1 << 17) / part.len());
        assert!(looked_at(&template).len() <= 200);
        let template = format!("{{{{ '{}' }}}}", part.replace('\'', "\"").repeat((1 << 17) / part.len()));
        assert!(looked_at(&template).len() <= 200);
    }
    // Many that are suspicious do not hide one that is malicious.
    let template = format!("{}{{{{ x|attr('y') }}}}", "{{ own() }}".repeat(10_000));
    assert!(looked_at(&template).iter().any(|finding| finding.level == Level::Malicious));
    let findings = looked_at(&"x".repeat((1 << 20) + 1));
    assert_eq!((findings.len(), findings[0].rule.as_str()), (1, "jinja.broken"));
}

proptest! {
    #[test]
    fn no_tokens_make_it_panic(parts in proptest::collection::vec(select(vec![
        "{{", "}}", "{%", "%}", "{#", "#}", "raw", "endraw", " ", "'", "\"", "\\", "\\x5f", "\\N{", "}", "(", ")", "[", "]",
        "x", "_", "__class__", ".", "|", "attr", "=", "attribute", ",", "~", "%c", "%", "is", "not", "ä", "1", "-", "\n",
    ]), 0..60)) {
        looked_at(&parts.concat());
    }

    #[test]
    fn no_mutation_does_and_an_escape_is_told_wherever_it_stands(
        (_, template) in select(TEMPLATES.to_vec()),
        at in any::<proptest::sample::Index>(),
        character in any::<char>(),
    ) {
        let mut middle = at.index(template.len());
        while !template.is_char_boundary(middle) {
            middle -= 1;
        }
        let (front, rest) = template.split_at(middle);
        looked_at(&format!("{front}{character}{rest}"));
        // Before a statement an expression may stand.
        let statements: Vec<usize> = template.match_indices("{%").map(|(at, _)| at).collect();
        let (front, rest) = template.split_at(statements[at.index(statements.len())]);
        let hostile = format!("{front}{{{{ x.__class__ }}}}{rest}");
        let is_raw = rest.starts_with("{% endraw");
        prop_assert!(is_raw || looked_at(&hostile).iter().any(|finding| finding.rule == "jinja.escape"), "{}", hostile);
    }
}
